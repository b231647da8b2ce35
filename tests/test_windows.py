"""Windows of long prompts: cut as a reader would, chosen and folded as their slow twins do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guidealign_engine import _native
from guidealign_engine.batches import RankedBatch, TokenBatch
from guidealign_engine.config import WindowConfig
from guidealign_engine.windows import Windows, choose_windows, cut_into_windows, fold_windows

NARROW = WindowConfig(characters=20)
VOCABULARY = 12
# Sums of few of these are exact in float32.
SALIENCE = np.array([0.5, -1.0, 2.0, 0.25, -0.75, 1.5, 3.0, -2.0, 0.0, 1.0, -0.25, 0.125], dtype=np.float32)


def windows_of(text: str, config: WindowConfig = NARROW) -> list[str]:
    windows, _ = cut_into_windows([text], config)
    return windows


@pytest.mark.parametrize("text", ["", "short", "exactly twenty chars"])
def test_a_short_text_is_one_window(text: str) -> None:
    assert cut_into_windows([text], NARROW) == ([text], None)


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        ("first paragraph\n\nsecond one\n \nthird", ["first paragraph", "second one", "third"]),
        ("One is. Two is. Three is four.", ["One is. Two is.", "Three is four."]),
        ("line one\nline two\nline three", ["line one line two", "line three"]),
        ("Is it? Yes, it really is! Good, then go.", ["Is it?", "Yes, it really is!", "Good, then go."]),
        ("x" * 45, ["x" * 20, "x" * 20, "x" * 5]),
        ("a" * 25 + " bb. cc", ["a" * 20, "aaaaa bb. cc"]),
        ("一二三四五六七八九十。一二三四五六七八九十？一二", ["一二三四五六七八九十。", "一二三四五六七八九十? 一二"]),
        ("\n\n\n" + " " * 20, ["\n\n\n" + " " * 20]),
    ],
    ids=["paragraphs", "sentences", "lines", "marks", "one word", "a long word first", "no spaces", "blank"],
)
def test_a_long_text_is_cut_at_paragraphs_then_sentences(text: str, windows: list[str]) -> None:
    assert windows_of(text) == windows


def test_a_window_that_is_not_ascii_is_read_and_folded() -> None:
    text = "first paragraph\n\nｌｏｃｋ the door\n\nthird paragraph"
    assert windows_of(text) == ["first paragraph", "lock the door", "third paragraph"]


def test_of_many_windows_that_are_not_ascii_the_outer_ones_are_read() -> None:
    text = "\n\n".join(f"параграф {number}" if number % 2 else f"paragraph {number}" for number in range(8))
    few = WindowConfig(characters=20, most_other=2)
    read = [0, 1, 2, 4, 6, 7]
    assert windows_of(text, few) == [f"параграф {number}" if number % 2 else f"paragraph {number}" for number in read]


def test_a_text_that_grows_when_it_is_folded_stays_bounded() -> None:
    windows = windows_of("\ufdfa" * 10_000, WindowConfig())
    assert len(windows) == 8
    assert {len(window) for window in windows} == {400}


def test_texts_of_a_batch_keep_their_windows_apart() -> None:
    windows, offsets = cut_into_windows(["short", "first paragraph\n\nsecond one", "", "short"], NARROW)
    assert windows == ["short", "first paragraph", "second one", "", "short"]
    assert offsets is not None
    assert offsets.tolist() == [0, 1, 3, 4, 5]


@given(st.text(st.sampled_from("ab.?! \n。"), min_size=21, max_size=200))
def test_nothing_that_is_read_is_lost(text: str) -> None:
    windows = windows_of(text)
    assert "".join("".join(windows).split()) == "".join(text.split())
    assert all(len(window) <= 20 for window in windows) or not text.strip()


def twin_of_choose(windows: Sequence[Sequence[int]], config: WindowConfig) -> list[tuple[int, float]]:
    """Window and penalty, for one prompt."""
    points = [
        float(np.float32(SALIENCE[list(ids)].sum()) / np.float32(math.sqrt(len(ids)))) if ids else -math.inf
        for ids in windows
    ]
    points = [
        point + (config.end_bonus if place in (0, len(points) - 1) else 0.0) for place, point in enumerate(points)
    ]
    order = sorted(range(len(points)), key=lambda place: (-points[place], place))[: config.most]
    best = points[order[0]]
    return [
        (place, 0.0 if points[place] == best else config.cost * (best - points[place]))
        for place in sorted(order)
        if best == points[place] or points[place] > -math.inf
    ]


IDS = st.lists(st.integers(0, VOCABULARY - 1), max_size=6)
PROMPTS = st.lists(st.lists(IDS, min_size=1, max_size=7), max_size=4)


@settings(deadline=None)
@given(prompts=PROMPTS, most=st.integers(1, 5), bonus=st.sampled_from([0.0, 0.5, 8.0]))
def test_choosing_agrees_with_its_twin(prompts: list[list[list[int]]], most: int, bonus: float) -> None:
    config = WindowConfig(most=most, end_bonus=bonus, cost=0.5)
    tokens = TokenBatch.of([np.array(ids, dtype=np.int64) for windows in prompts for ids in windows])
    offsets = np.cumsum([0, *map(len, prompts)], dtype=np.int64)
    taken, windows = choose_windows(tokens, offsets, SALIENCE, config)
    found = iter(zip(taken.rows() if len(taken) else [], windows.penalties.tolist(), strict=True))
    for prompt, own in enumerate(prompts):
        wanted = twin_of_choose(own, config)
        assert windows.offsets[prompt + 1] - windows.offsets[prompt] == len(wanted)
        for place, penalty in wanted:
            ids, found_penalty = next(found)
            assert ids.tolist() == own[place]
            assert found_penalty == pytest.approx(penalty, rel=1e-5, abs=1e-6)


RANKED_ROW = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from([1.0, 0.75, 0.5, 0.25, 0.125])),
    max_size=4,
    unique_by=lambda entry: entry[0],
)


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(RANKED_ROW, st.sampled_from([0.0, 0.25, 0.5])), max_size=3), max_size=3))
def test_folding_agrees_with_its_twin(prompts: list[list[tuple[list[tuple[int, float]], float]]]) -> None:
    rows = [row for windows in prompts for row, _ in windows]
    guidelines = np.full((len(rows), 4), -1, dtype=np.int32)
    scores = np.zeros((len(rows), 4), dtype=np.float32)
    matched = np.full((len(rows), 4), -1, dtype=np.int64)
    for place, row in enumerate(rows):
        for column, (guideline, score) in enumerate(sorted(row, key=lambda entry: (-entry[1], entry[0]))):
            guidelines[place, column], scores[place, column], matched[place, column] = guideline, score, place
    ranked = RankedBatch(guidelines, scores, matched, np.array([len(row) for row in rows], dtype=np.int32))
    penalties = np.array([penalty for windows in prompts for _, penalty in windows], dtype=np.float32)
    offsets = np.cumsum([0, *map(len, prompts)], dtype=np.int64)

    folded = fold_windows(ranked, Windows(offsets, penalties))

    place = 0
    for prompt, own in enumerate(prompts):
        best: dict[int, tuple[float, int]] = {}
        for row, penalty in own:
            for guideline, score in row:
                if guideline not in best or score - penalty > best[guideline][0]:
                    best[guideline] = (score - penalty, place)
            place += 1
        wanted = sorted(best, key=lambda guideline: (-best[guideline][0], guideline))[:4]
        count = int(folded.counts[prompt])
        assert folded.guidelines[prompt, :count].tolist() == wanted
        assert folded.scores[prompt, :count].tolist() == [best[guideline][0] for guideline in wanted]
        assert folded.matched[prompt, :count].tolist() == [best[guideline][1] for guideline in wanted]
        assert (folded.guidelines[prompt, count:] == -1).all()


def test_ids_outside_the_salience_are_refused() -> None:
    tokens = TokenBatch.of([np.array([VOCABULARY], dtype=np.int64)])
    with pytest.raises(ValueError, match="token 12 is outside the 12 that have a salience"):
        choose_windows(tokens, np.array([0, 1]), SALIENCE, NARROW)


ID_ROWS = st.lists(st.lists(st.integers(0, 5), max_size=8), max_size=4)
PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), unique=True, max_size=12)


@given(rows=ID_ROWS, pairs=PAIRS)
def test_bigrams_agree_with_their_twin(rows: list[list[int]], pairs: list[tuple[int, int]]) -> None:
    table = np.array(pairs, dtype=np.int32).reshape(-1, 2)
    tokens = TokenBatch.of([np.array(row, dtype=np.int64) for row in rows])
    found = TokenBatch(*_native.Bigrams(table, first_id=6).append(tokens.ids, tokens.offsets))
    number = {pair: 6 + place for place, pair in enumerate(pairs)}
    for row, own in zip(rows, found.rows(), strict=True):
        assert own.tolist() == [*row, *(number[pair] for pair in pairwise(row) if pair in number)]

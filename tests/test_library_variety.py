"""`guidealign library variety`: its figures tell texts that people wrote from texts out of a template."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from guidealign_engine.commands import app
from guidealign_engine.library import GuidelineRecord

pytest.importorskip("matplotlib", reason="the offline extra is not installed")

from rapidfuzz.distance import Indel

from guidealign_engine.offline.guidelines import nearest
from guidealign_engine.offline.guidelines.plot_variety import plot_variety
from guidealign_engine.offline.guidelines.plots import ALARM
from guidealign_engine.offline.guidelines.skeletons import shared_skeletons, skeletons
from guidealign_engine.offline.guidelines.text_pool import PlacedText, measure_pool
from guidealign_engine.offline.guidelines.variety import measure_variety
from guidealign_engine.offline.guidelines.word_variety import (
    WINDOW,
    different_in_window,
    measure_grams,
    measure_openings,
)
from guidealign_engine.pairs import Pair

LIBRARY = Path(__file__).parents[1] / "library" / "guidelines"
TEMPLATES = [
    "If someone wants help with {}, explain why this is harmful and suggest {}.",
    "Do not assist with {}; instead, point the user to {} and keep the tone calm.",
    "Asked about {}, the assistant should decline, and should then mention {}.",
    "Never give steps for {}, but do say where people find {}.",
    "Treat {} as off limits; talk about {} with the user if they like.",
]


def record(id: str, text: str, *examples: str, category: str = "c") -> GuidelineRecord:
    return GuidelineRecord(id=id, kind="safety", category=category, title="t", text=text, examples=examples)


def write_library(file: Path, records: Sequence[GuidelineRecord]) -> Path:
    file.write_text("".join(json.dumps(asdict(one)) + "\n" for one in records), encoding="utf-8")
    return file


def variety(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["library", "variety", *map(str, arguments)])


def pool(*texts: str, max_ratio: float = 0.75) -> Any:
    placed = [PlacedText(str(number), text) for number, text in enumerate(texts)]
    return measure_pool("texts", placed, max_ratio, lambda line: None)


# The nearest other text.


def slow_neighbours(texts: Sequence[str]) -> list[tuple[float, int]]:
    """One comparison after the other; of equally near texts the first wins."""
    found = []
    for own, text in enumerate(texts):
        ratios = [
            (Indel.normalized_similarity(text, other), -place) for place, other in enumerate(texts) if place != own
        ]
        ratio, place = max(ratios, default=(0.0, 1))
        found.append((ratio, -place))
    return found


@pytest.mark.parametrize("cells", [1, 7, 1 << 21])
@given(texts=st.lists(st.text("abc鍵", max_size=8), max_size=12))
def test_neighbours_are_those_of_the_slow_twin(cells: int, texts: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "_CELLS", cells)
        found = nearest.nearest_neighbours(texts)
    assert list(zip(found.ratios.tolist(), found.positions.tolist(), strict=True)) == slow_neighbours(texts)


def test_progress_ends_at_the_number_of_texts() -> None:
    done: list[int] = []
    nearest.nearest_neighbours(["a", "b", "c"], done.append)
    assert done == [3]


def test_a_ratio_at_the_limit_is_too_near() -> None:
    # Three of four characters in common: 2 * 3 / 8.
    found = pool("abcd", "xbcd", "mnop")
    assert [(pair.ratio, pair.places) for pair in found.too_near] == [(0.75, ("0", "1"))]
    assert pool("abcd", "xbcd", max_ratio=0.7501).too_near == ()
    assert found.nearest.highest == 0.75
    assert found.nearest_histogram()["0.75"] == 2
    assert sum(found.nearest_histogram().values()) == 3


def test_a_text_alone_has_no_neighbour() -> None:
    for found in (pool("alone"), pool()):
        assert found.too_near == found.nearest_pairs == ()
        assert found.nearest.highest == 0.0
    assert pool().as_dict()["nearest_histogram"] == {}


# Words.


def test_repeated_runs_of_four_words_are_counted() -> None:
    grams = measure_grams([["a", "b", "c", "d", "e"], ["a", "b", "c", "d"], ["a", "b", "c"]])
    assert grams.distinct == pytest.approx(2 / 3, abs=1e-4)
    assert grams.repeated == {"a b c d": 2}
    assert measure_grams([["short"]]).distinct == 1.0


def test_openings_are_shares_of_the_texts_that_have_one() -> None:
    texts = [["refuse", "to"], ["refuse", "all"], ["ask"], []]
    assert measure_openings(texts, 1).share == pytest.approx(2 / 3, abs=1e-4)
    assert measure_openings(texts, 2).share == 0.5
    assert measure_openings([], 1).share == 0.0


def test_who_speaks_is_no_opening() -> None:
    found = pool("User: how do I stop\nAssistant: you rest", "how do you start", "USER : go on")
    assert found.first_word.commonest == {"how": 2, "go": 1}
    assert found.words.highest == 6


@given(st.lists(st.sampled_from("abcdefgh"), max_size=120))
def test_a_sliding_window_counts_like_counting_anew(spoken: list[str]) -> None:
    windows = [spoken[start : start + WINDOW] for start in range(len(spoken) - WINDOW + 1)]
    expected = None if not windows else np.mean([len(set(window)) / WINDOW for window in windows])
    assert different_in_window(spoken) == (None if expected is None else pytest.approx(expected, abs=1e-4))


def test_a_skeleton_keeps_function_words_only() -> None:
    assert skeletons("Do not assist with fake passports or visas; that is all.") == ["do not _ with _ or _"]
    assert skeletons("Do not help with burglary or car theft") == ["do not _ with _ or _"]
    assert skeletons("Refuse, and say why it is so (as far as you can)!") == ["and _ why it is so", "as _ as you can"]
    assert skeletons("Ne pas aider à voler une voiture") == []


def test_texts_that_share_a_skeleton_are_found_by_position() -> None:
    texts = [
        "Do not assist with forgery or theft.",
        "Weigh both sides.",
        "Before all, do not help with arson or worse.",
        "Do not deal with a forger or a thief.",
    ]
    assert shared_skeletons(texts) == {"do not _ with _ or _": [0, 2]}


# People and templates.


def out_of_templates(count: int) -> list[GuidelineRecord]:
    rng = random.Random(3)
    titles = [one.title.lower() for one in toy.GUIDELINES]
    return [
        record(f"made-{number}", rng.choice(TEMPLATES).format(rng.choice(titles), rng.choice(titles)))
        for number in range(count)
    ]


def test_templates_betray_themselves_beside_the_library() -> None:
    if not LIBRARY.is_dir():
        pytest.skip("the sources of the library are not here")
    from guidealign_engine.guideline_files import read_guidelines

    written = [replace(one, examples=()) for one in read_guidelines([LIBRARY])]
    honest = measure_variety(written).texts
    made = measure_variety(out_of_templates(150)).texts
    assert honest.too_near == ()
    assert honest.grams.distinct > 0.95
    assert honest.first_two_words.share < 0.05
    assert honest.skeletons.share < 0.1
    assert made.nearest.median > 0.7 > 0.6 > honest.nearest.median
    assert made.grams.distinct < 0.7
    assert made.first_two_words.share > 0.15
    assert made.skeletons.share > 0.5
    assert made.different_in_window is not None
    assert honest.different_in_window is not None
    assert made.different_in_window < honest.different_in_window


def test_categories_are_compared_by_a_window() -> None:
    rich = " ".join(f"word{number}" for number in range(60))
    records = [record("a", rich, category="rich"), record("b", "again " * 60, category="poor"), record("c", "brief")]
    found = {row.category: row for row in measure_variety(records).categories}
    assert (found["rich"].words, found["rich"].different, found["rich"].ratio) == (60, 60, 1.0)
    assert found["rich"].different_in_window == 1.0
    assert found["poor"].different_in_window == 0.02
    assert found["c"].different_in_window is None


# The command.


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    return write_library(
        tmp_path / "copies.jsonl",
        [
            record("one", "Explain how locks work, and refuse to plan a break-in.", "open a door", "what is a lock"),
            record("two", "Explain how locks work; and refuse to plan any break-in.", "make a soup"),
            record("three", "Carry units through each line of a calculation.", "sum this up"),
        ],
    )


def test_a_copy_ends_with_1_only_when_asked(copies: Path) -> None:
    assert variety(copies).exit_code == 0
    strict = variety(copies, "--max-ratio", "0.75", "--json")
    assert strict.exit_code == 1
    assert (
        "error: 1 pairs of texts and 0 of inputs reach --max-ratio 0.75; the nearest are one and two" in strict.stderr
    )
    found = json.loads(strict.stdout)
    assert [pair["places"] for pair in found["texts"]["too_near"]] == [["one", "two"]]
    assert found["texts"]["nearest"]["count"] == 3
    assert variety(copies, "--max-ratio", "0.99").exit_code == 0
    assert variety(copies, "--max-ratio", "1.5").exit_code == 2


def test_held_out_inputs_are_compared_too(copies: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"input": "make a soup", "positive": ["two"], "split": "test"}\n', encoding="utf-8")
    found = json.loads(variety(copies, "--pairs", pairs, "--json").stdout)["inputs"]
    assert found["count"] == 5
    assert (found["too_near"][0]["ratio"], found["too_near"][0]["places"]) == (1.0, ["two", "test of two"])
    assert measure_variety([record("a", "b")], [Pair("x", (), "dev")]).inputs.count == 1


def test_people_read_what_would_be_bad(copies: Path) -> None:
    shown = variety(copies).stdout
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    for start in (
        "how many 3 4",
        "pairs from 0.75 on 1 0 Any: rewrite",
        "commonest first word 66.7 % 25.0 % Over 10 %",
        "safety c 3 28 18 0.64 -",
        "texts, first word explain 2, carry 1",
    ):
        assert any(line.startswith(start) for line in lines), (start, shown)


def test_the_picture_marks_the_limit(copies: Path, tmp_path: Path) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.image import imread

    assert variety(copies, "--plot", tmp_path / "variety.png").exit_code == 0
    pixels = imread(tmp_path / "variety.png")[:, :, :3]
    marked = np.flatnonzero((np.abs(pixels - to_rgb(ALARM)).max(axis=2) < 0.05).sum(axis=0) > 200)
    assert 1 <= len(marked) <= 4


def test_a_library_without_inputs_or_in_other_scripts_is_drawn(tmp_path: Path) -> None:
    for name, records in (("bare", [record("a", "鍵 を $x^{ 開ける")]), ("empty", [record("a", "…", "!")])):
        plot_variety(measure_variety(records), tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")

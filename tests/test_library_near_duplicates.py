"""Near-duplicates and likeness by meaning, beside comparing all with all."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidealign_engine.errors import ConfigError
from guidealign_engine.guideline_files import read_guidelines

pytest.importorskip("rapidfuzz", reason="the offline extra is not installed")

from rapidfuzz.distance import Indel
from rapidfuzz.process import cdist

from guidealign_engine.offline.guidelines.band_table import BandTable
from guidealign_engine.offline.guidelines.first_come import settle
from guidealign_engine.offline.guidelines.meaning import MeaningMatches
from guidealign_engine.offline.guidelines.near_duplicates import Pairs, similar_pairs, text_keys
from guidealign_engine.offline.guidelines.shingles import min_hashes
from guidealign_engine.offline.guidelines.stance import Stance, opposite, tagged_stance, worded_stance

LIBRARY = Path(__file__).parents[1] / "library/guidelines"
CHINESE = [
    "请根据用户贴出的摘要写文献综述，主题是乡村教师流动，不要编造任何文献，也不要省略来源。",
    "拒绝帮助任何人进入不属于自己的住宅；可以解释锁的工作原理，并建议联系锁匠或房东。",
    "当有人说想伤害自己时，先温和地回应，认真对待，并给出当地的求助热线，不要描述方法。",
    "翻译时保留占位符和语气，遇到双关语要说明取舍，不要逐字照搬原文的句子结构和标点。",
]


def entries() -> list[str]:
    return [record.entry for record in read_guidelines([LIBRARY])]


def reworded(text: str, share: float, words: Sequence[str], chance: random.Random) -> str:
    """Words replaced, dropped, doubled or exchanged; for Chinese, characters."""
    spaced = " " in text
    found = text.split() if spaced else list(text)
    for _ in range(int(share * len(found))):
        place = chance.randrange(len(found) - 1)
        way = chance.randrange(4)
        if way == 0:
            found[place] = chance.choice(words)
        elif way == 1 and len(found) > 4:
            del found[place]
        elif way == 2:
            found.insert(place, chance.choice(words))
        else:
            found[place : place + 2] = found[place : place + 2][::-1]
    return (" " if spaced else "").join(found)


def near(texts: Sequence[str], ratio: float = 0.75) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """Pairs that were found, and pairs that there are."""
    found = {
        pair
        for pairs in similar_pairs(texts, ratio)
        for pair in zip(pairs.later.tolist(), pairs.earlier.tolist(), strict=True)
    }
    ratios = cdist(texts, texts, scorer=Indel.normalized_similarity, dtype=np.float64, workers=2)
    later, earlier = np.nonzero(np.tril(ratios >= ratio, -1))
    return found, set(zip(later.tolist(), earlier.tolist(), strict=True))


@pytest.mark.parametrize("seed", [1, 2])
def test_ninety_nine_in_a_hundred_pairs_are_found_and_no_others(seed: int) -> None:
    chance = random.Random(seed)
    originals = entries()[:200]
    words = " ".join(originals).split()
    texts = [reworded(text, chance.uniform(0, 0.4), words, chance) for text in originals for _ in range(10)]
    found, there = near(texts)
    assert len(there) > 1000
    assert found <= there
    assert len(found) / len(there) > 0.99


def test_chinese_is_found_as_well() -> None:
    chance = random.Random(5)
    characters = "".join(CHINESE)
    texts = [reworded(text, chance.uniform(0, 0.3), characters, chance) for text in CHINESE for _ in range(60)]
    found, there = near(texts)
    assert len(there) > 1000
    assert found <= there
    assert len(found) / len(there) > 0.99


@given(st.lists(st.text(alphabet="ab né\U0001f642字\0", max_size=12), max_size=12))
def test_equal_texts_are_always_found_and_unlike_ones_never(texts: list[str]) -> None:
    found, there = near(texts)
    assert found <= there
    assert {(j, i) for i in range(len(texts)) for j in range(i + 1, len(texts)) if texts[i] == texts[j]} <= found


def test_unrelated_texts_are_hardly_ever_compared() -> None:
    texts = entries()
    table = BandTable()
    keys = text_keys(texts)
    table.add(keys, np.arange(len(texts)))
    others = len(table.candidates(keys).rows) - len(texts)
    # Comparing all with all would be len(texts) for each; a hundredth of that is what keeps the work nearly linear.
    assert others / len(texts) < len(texts) / 100


def test_min_hashes_agree_as_often_as_texts_overlap() -> None:
    letters = [chr(0x21 + number) for number in range(90)]
    one = "".join(letters)
    other = "".join(letters[30:]) + "".join(chr(0x100 + number) for number in range(30))
    left, right = min_hashes([one, other])
    # 57 of 123 pieces of four letters are in both, and the three at the end differ.
    assert abs((left == right).mean() - 57 / 123) < 0.1
    assert np.array_equal(min_hashes([other, one])[1], left)


def test_a_table_finds_the_same_however_it_was_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = text_keys(entries()[:120] * 2)
    numbers = np.arange(len(keys))
    whole = BandTable()
    whole.add(keys, numbers)
    expected = whole.candidates(keys)
    monkeypatch.setattr("guidealign_engine.offline.guidelines.band_table._FEWEST_FRESH", 2000)
    monkeypatch.setattr("guidealign_engine.offline.guidelines.band_table._HITS_AT_ONCE", 500)
    bit_by_bit = BandTable()
    for start in range(0, len(keys), 7):
        bit_by_bit.add(keys[start : start + 7], numbers[start : start + 7])
    found = bit_by_bit.candidates(keys)
    assert np.array_equal(found.rows, expected.rows)
    assert np.array_equal(found.owners, expected.owners)
    with pytest.raises(ConfigError, match="there are over 16,777,216 texts"):
        whole.add(keys[:1], np.array([1 << 24]))


# Who goes where.


def pairs(*rows: tuple[int, int, float]) -> Pairs:
    later, earlier, ratios = zip(*rows, strict=True)
    return Pairs(np.array(later), np.array(earlier), np.array(ratios))


def test_the_most_alike_of_those_that_stay_takes_it() -> None:
    # 2 goes into 0, so that 3 cannot go into 2; 4 is as much like 0 as like 1, and 0 is the first.
    found = settle([pairs((2, 0, 0.8), (3, 2, 0.99), (3, 1, 0.8)), pairs((4, 1, 0.9), (4, 0, 0.9), (3, 0, 0.76))])
    assert found == {2: (0, 0.8), 3: (1, 0.8), 4: (0, 0.9)}


def test_vectors_are_compared_with_all_that_were_kept() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((3000, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    numbers = np.arange(3000) * 3
    matches = MeaningMatches(0.9)
    found = set[tuple[int, int]]()
    for start in range(0, 3000, 700):
        part = slice(start, start + 700)
        each = matches.pairs(vectors[part], numbers[part], lambda later, earlier: earlier % 2 == 0)
        found |= set(zip(each.later.tolist(), each.earlier.tolist(), strict=True))
        matches.add(vectors[part], numbers[part])
    later, earlier = np.nonzero(np.tril(vectors @ vectors.T >= 0.9, -1))
    expected = {
        (3 * one, 3 * other) for one, other in zip(later.tolist(), earlier.tolist(), strict=True) if other % 2 == 0
    }
    assert len(expected) > 300
    # Sums of other shapes are rounded otherwise, which may tip a pair that lies on the edge.
    assert len(found ^ expected) <= 2


@pytest.mark.parametrize(
    ("text", "stance"),
    [
        ("Refuse to plan a break-in; suggest a locksmith.", Stance.DECLINE),
        ("Someone else's records must not be passed on.", Stance.DECLINE),
        ("Don’t write phishing mails.", Stance.DECLINE),
        ("Questions on locks deserve a full answer.", Stance.HELP),
        ("Explain what each part does.", Stance.HELP),
        ("Number the steps.", Stance.UNKNOWN),
    ],
)
def test_what_a_text_does_with_a_request(text: str, stance: Stance) -> None:
    assert worded_stance(text) is stance


def test_tags_say_it_when_there_is_one() -> None:
    assert tagged_stance(["locks", "help"]) is Stance.HELP
    assert tagged_stance(["decline", "help"]) is tagged_stance(["locks"]) is Stance.UNKNOWN
    assert opposite(Stance.HELP, Stance.DECLINE)
    assert not opposite(Stance.CARE, Stance.DECLINE)
    assert not opposite(Stance.DECLINE, Stance.DECLINE)

"""ROUGE-L against a slow, obvious twin, and clusters with their evenness against hand-worked cases."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import process
from rapidfuzz.distance import Indel

from guidealign_engine.errors import ConfigError
from guidealign_engine.offline.guidelines.clusters import Clusters, Evenness, default_count
from guidealign_engine.offline.guidelines.rouge import Alike, KeptInputs
from guidealign_engine.offline.guidelines.words import words

pytest.importorskip("sklearn", reason="the offline extra is not installed")


def rouge_l(one: str, other: str) -> float:
    """F1 over words of the longest common subsequence, by the table of the textbook."""
    rows, columns = words(one), words(other)
    if not rows or not columns:
        return 0.0
    table = [[0] * (len(columns) + 1) for _ in range(len(rows) + 1)]
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            table[i + 1][j + 1] = table[i][j] + 1 if row == column else max(table[i][j + 1], table[i + 1][j])
    common = table[-1][-1]
    return 2 * common / (len(rows) + len(columns))


def most_alike(kept: list[str], text: str, max_rouge: float) -> Alike | None:
    """By comparing with all."""
    scores = [rouge_l(text, other) for other in kept]
    best = max(scores, default=0.0)
    return Alike(scores.index(best), best) if best > max_rouge else None


@pytest.mark.parametrize(
    ("one", "other", "rouge"),
    [
        ("How do I pick a lock?", "how do i pick a lock", 1.0),
        ("how do I pick a lock", "how would I pick that lock", 4 / 6),
        ("a b c d e f g h i j", "a b c d e f g", 14 / 17),
        ("a b c d e f g", "a b c d e f g x y z p q r", 0.7),
        ("the the the dog", "the dog", 4 / 6),
        ("pick a lock", "lock a pick", 2 / 6),
        ("我的锁打不开了", "我的锁打不开", 12 / 13),
        ("?!", "?!", 0.0),
    ],
)
def test_rouge_of_hand_worked_cases(one: str, other: str, rouge: float) -> None:
    assert rouge_l(one, other) == rouge
    kept = KeptInputs(0.69)
    kept.keep(one)
    assert kept.most_alike(other) == (Alike(0, rouge) if rouge > 0.69 else None)


def test_exactly_the_bound_is_not_over_it() -> None:
    kept = KeptInputs(0.7)
    kept.keep("a b c d e f g")
    assert kept.most_alike("a b c d e f g x y z p q r") is None
    assert kept.most_alike("a b c d e f g x y z p q") == Alike(0, 14 / 19)


WORDS = ["the", "a", "dog", "bites", "lock", "picks", "how", "to"]
SENTENCES = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)


@given(st.lists(SENTENCES, max_size=12), SENTENCES, st.sampled_from([0.0, 0.3, 0.5, 2 / 3, 0.7, 0.75, 1.0]))
def test_the_most_alike_is_that_of_comparing_all(kept: list[str], text: str, max_rouge: float) -> None:
    index = KeptInputs(max_rouge)
    for other in kept:
        index.keep(other)
    assert len(index) == len(kept)
    assert index.most_alike(text) == most_alike(kept, text, max_rouge)


def test_a_bound_without_meaning_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"the highest ROUGE-L is 1\.7; it must lie between 0 and 1"):
        KeptInputs(1.7)


def test_looking_through_the_kept_inputs_is_faster_than_comparing_with_each() -> None:
    rng = random.Random(3)
    # Few words are in most texts and most are in few, as in any language.
    texts = [" ".join(f"w{int(rng.paretovariate(0.7))}" for _ in range(rng.randint(5, 30))) for _ in range(20_000)]
    kept = KeptInputs()
    for text in texts:
        kept.keep(text)
    every = [words(text) for text in texts]
    asked = texts[:: len(texts) // 20]

    def seconds(look: Callable[[str], object]) -> float:
        start = time.perf_counter()
        for text in asked:
            look(text)
        return time.perf_counter() - start

    with_each = seconds(lambda text: process.cdist([words(text)], every, scorer=Indel.normalized_similarity))
    assert with_each > 4 * seconds(kept.most_alike)


# Clusters.


def blobs(sizes: list[int], dimension: int = 16) -> np.ndarray:
    """Unit vectors around as many directions as there are sizes."""
    rng = np.random.default_rng(4)
    centres = np.eye(dimension)[: len(sizes)]
    vectors = np.repeat(centres, sizes, axis=0) + 0.05 * rng.standard_normal((sum(sizes), dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_clusters_find_what_lies_together() -> None:
    sizes = [200, 60, 9, 31]
    vectors = blobs(sizes)
    clusters = Clusters.fit(vectors, 4, seed=0)
    found = clusters.of(vectors)
    parts = np.split(found, np.cumsum(sizes)[:-1])
    assert [len(set(part.tolist())) for part in parts] == [1, 1, 1, 1]
    assert sorted(np.bincount(found).tolist()) == sorted(sizes)


def test_the_nearest_centre_is_the_nearest() -> None:
    vectors = blobs([50, 50, 50])
    clusters = Clusters.fit(vectors, 7, seed=1)
    distances = [[float(np.linalg.norm(vector - centre)) for centre in clusters.centres] for vector in vectors]
    assert clusters.of(vectors).tolist() == [row.index(min(row)) for row in distances]


def test_the_same_seed_gives_the_same_clusters() -> None:
    vectors = np.random.default_rng(0).standard_normal((3000, 32)).astype(np.float32)
    first, again = (Clusters.fit(vectors, 20, seed=5).centres for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_more_clusters_than_inputs_are_refused() -> None:
    with pytest.raises(ConfigError, match="4 clusters of 3 inputs; allowed: 1 to 3"):
        Clusters.fit(blobs([3]), 4, seed=0)


@pytest.mark.parametrize(
    ("counts", "entropy", "largest"),
    [
        ([5, 5, 5, 5], 1.0, 0.25),
        ([20, 0, 0, 0], 0.0, 1.0),
        ([8, 8, 0, 0], 0.5, 0.5),
        ([9, 1], 0.4689955935892812, 0.9),
        ([7], 1.0, 1.0),
        ([0, 0], 0.0, 0.0),
    ],
)
def test_evenness_of_hand_worked_cases(counts: list[int], entropy: float, largest: float) -> None:
    found = Evenness.of(counts)
    assert found.entropy == pytest.approx(entropy, abs=1e-12)
    assert found.largest_share == largest
    assert (found.inputs, found.clusters, found.smallest) == (sum(counts), len(counts), min(counts))


def test_the_number_of_clusters_grows_as_the_root() -> None:
    assert [default_count(inputs) for inputs in (0, 1, 4, 100, 10_000, 10_000_000)] == [1, 1, 2, 10, 100, 256]

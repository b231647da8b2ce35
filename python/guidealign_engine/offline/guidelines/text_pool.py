"""Texts of one sort, and how much they differ from each other."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.offline.guidelines.nearest import Neighbours, nearest_neighbours
from guidealign_engine.offline.guidelines.spread import Spread
from guidealign_engine.offline.guidelines.word_variety import (
    Grams,
    Shared,
    different_in_window,
    measure_grams,
    measure_openings,
    measure_skeletons,
)
from guidealign_engine.offline.guidelines.words import words

_LISTED = 10
# Who speaks in an excerpt of a conversation is no word of it.
_SPEAKER = re.compile(r"^\s*(user|assistant|system)\s*:", re.IGNORECASE | re.MULTILINE)

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PlacedText:
    """A text and whose it is: a guideline's id, or the split that it is held out for."""

    place: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPair:
    """A text and the one that is most like it."""

    ratio: float
    places: tuple[str, str]
    texts: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPool:
    """How much the texts of one sort differ from each other."""

    count: int
    words: Spread
    nearest: Spread
    """Indel ratio of every text to the one most like it"""
    nearest_pairs: tuple[NearPair, ...]
    """the nearest first"""
    too_near: tuple[NearPair, ...]
    """those that reach the highest ratio allowed"""
    grams: Grams
    first_word: Shared
    first_two_words: Shared
    skeletons: Shared
    different_in_window: float | None
    ratios: NDArray[np.float64]
    """(texts) what `nearest` sums up"""
    word_counts: NDArray[np.int64]
    """(texts) what `words` sums up"""

    def as_dict(self) -> dict[str, Any]:
        """For programs: all but the figures of every single text."""
        record = asdict(self)
        del record["ratios"], record["word_counts"]
        return {**record, "nearest_histogram": self.nearest_histogram()}

    def nearest_histogram(self) -> dict[str, int]:
        """Lower end of each step of 0.05 → texts; from the first step with a text to the last."""
        steps = np.minimum(np.floor(self.ratios * 20 + 1e-9).astype(int), 19)
        if not len(steps):
            return {}
        counts = np.bincount(steps, minlength=20)
        return {f"{step / 20:.2f}": int(counts[step]) for step in range(steps.min(), steps.max() + 1)}


def measure_pool(name: str, pool: Sequence[PlacedText], max_ratio: float, report: Report) -> TextPool:
    """Compares every text with all others."""
    texts = [item.text for item in pool]
    report(f"comparing {len(pool):,} {name} with each other")
    neighbours = nearest_neighbours(texts, lambda done: report(f"  {done:,} of {len(pool):,} {name} compared"))
    pairs = _near_pairs(pool, neighbours)
    spoken = [words(_SPEAKER.sub("", text)) for text in texts]
    counts = np.array([len(text) for text in spoken], dtype=np.int64)
    return TextPool(
        count=len(pool),
        words=Spread.of(counts.tolist()),
        nearest=Spread.of(neighbours.ratios.tolist(), digits=4),
        nearest_pairs=tuple(pairs[:_LISTED]),
        too_near=tuple(pair for pair in pairs if pair.ratio >= max_ratio),
        grams=measure_grams(spoken),
        first_word=measure_openings(spoken, 1),
        first_two_words=measure_openings(spoken, 2),
        skeletons=measure_skeletons(texts),
        different_in_window=different_in_window([word for text in spoken for word in text]),
        ratios=neighbours.ratios,
        word_counts=counts,
    )


def _near_pairs(pool: Sequence[PlacedText], neighbours: Neighbours) -> list[NearPair]:
    """Every text with its nearest, two that are each other's nearest once; the nearest first."""
    found: dict[tuple[int, int], float] = {}
    for position in np.argsort(-neighbours.ratios, kind="stable").tolist():
        neighbour = int(neighbours.positions[position])
        if neighbour >= 0:
            found.setdefault((min(position, neighbour), max(position, neighbour)), float(neighbours.ratios[position]))
    return [
        NearPair(
            ratio=ratio,
            places=(pool[first].place, pool[second].place),
            texts=(pool[first].text, pool[second].text),
        )
        for (first, second), ratio in found.items()
    ]

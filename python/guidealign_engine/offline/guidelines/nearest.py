"""How near each text comes to the one most like it, by exhaustive comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.optional_packages import import_optional

_CELLS = 1 << 21
_WORKERS = 2


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest neighbour of each text; of equally near ones the first."""

    ratios: NDArray[np.float64]
    """(texts) Indel ratio, from 0 for nothing in common to 1 for equal; 0 for a text that is alone"""
    positions: NDArray[np.int64]
    """(texts) -1 for a text that is alone"""


def nearest_neighbours(texts: Sequence[str], progress: Callable[[int], None] = lambda done: None) -> Neighbours:
    """Compares every text with every other one, so time grows with the square of their number.

    progress: called with the number of texts that are done, every few million comparisons.
    """
    count = len(texts)
    ratios, positions = np.zeros(count), np.full(count, -1, dtype=np.int64)
    if count < 2:
        return Neighbours(ratios, positions)
    import_optional("rapidfuzz", package="rapidfuzz", extra="offline", purpose="comparing texts")
    from rapidfuzz.distance import Indel
    from rapidfuzz.process import cdist

    start = 0
    while start < count:
        # Likeness is mutual, so a block meets itself and what comes after it.
        block = texts[start : start + max(1, _CELLS // (count - start))]
        found = cdist(block, texts[start:], scorer=Indel.normalized_similarity, dtype=np.float64, workers=_WORKERS)
        np.fill_diagonal(found, -1.0)
        _keep_nearer(ratios, positions, found, slice(start, start + len(block)), start)
        _keep_nearer(ratios, positions, found.T, slice(start, count), start)
        start += len(block)
        progress(start)
    return Neighbours(ratios, positions)


def _keep_nearer(
    ratios: NDArray[np.float64],
    positions: NDArray[np.int64],
    found: NDArray[np.float64],
    rows: slice,
    first: int,
) -> None:
    """Takes the best of each row of `found` where it beats what is known; its columns are texts from `first` on."""
    nearest = found.argmax(axis=1)
    best = found[np.arange(len(found)), nearest]
    better = (best > ratios[rows]) | ((positions[rows] < 0) & (best >= 0))
    ratios[rows] = np.where(better, best, ratios[rows])
    positions[rows] = np.where(better, nearest + first, positions[rows])

"""The best documents of each query, in one order for all systems."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DEPTH = 10
_QUERIES_AT_ONCE = 512


def nearest(queries: NDArray[np.float32], documents: NDArray[np.float32], depth: int = DEPTH) -> NDArray[np.int64]:
    """Positions of the documents with the highest inner product, best first, int64 (queries, depth); see `best`."""
    parts = [
        best(queries[start : start + _QUERIES_AT_ONCE] @ documents.T, depth)
        for start in range(0, len(queries), _QUERIES_AT_ONCE)
    ]
    return np.concatenate(parts)


def best(scores: NDArray[np.float32], depth: int = DEPTH) -> NDArray[np.int64]:
    """Positions by falling score, int64 (queries, depth), ending in -1 where there are no more.

    scores: float32 (queries, documents); -inf for a document that is not found at all. Equal scores, to six decimals,
    put the document first that is first in the library, so that no system gains by how its sums are rounded.
    """
    rounded = np.round(scores, 6)
    kept = min(depth, scores.shape[1])
    lowest = -np.partition(-rounded, kept - 1, axis=1)[:, kept - 1]
    found = np.full((len(scores), depth), -1, dtype=np.int64)
    for row, (values, last) in enumerate(zip(rounded, lowest, strict=True)):
        candidates = np.flatnonzero((values >= last) & (values > -np.inf))
        order = candidates[np.argsort(-values[candidates], kind="stable")][:depth]
        found[row, : len(order)] = order
    return found

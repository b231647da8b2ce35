"""What the stages hand to each other: arrays, one row a query. Data only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class RankedBatch:
    """Guidelines of each query, best first; the first counts[row] entries of a row are filled, the rest is -1."""

    guidelines: NDArray[np.int32]
    """(queries, pool) positions in the library."""
    scores: NDArray[np.float32]
    """(queries, pool)"""
    matched: NDArray[np.int64]
    """(queries, pool) the stored vector that made each guideline's score."""
    counts: NDArray[np.int32]
    """(queries)"""


@dataclass(frozen=True, slots=True)
class SelectedBatch:
    """At most k guidelines for each query, in the order of selection; the rest of a row is -1."""

    guidelines: NDArray[np.int32]
    """(queries, k) positions in the library."""
    scores: NDArray[np.float32]
    """(queries, k)"""
    matched: NDArray[np.int64]
    """(queries, k) the stored vector that made each guideline's score."""
    counts: NDArray[np.int32]
    """(queries)"""

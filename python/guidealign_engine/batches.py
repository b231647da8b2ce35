"""What the stages hand to each other: arrays, one row a query. Data only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Token ids of texts, end to end: text i has ids[offsets[i] : offsets[i + 1]]."""

    ids: NDArray[np.int64]
    """(tokens)"""
    offsets: NDArray[np.int64]
    """(texts + 1)"""

    @classmethod
    def of(cls, rows: Sequence[NDArray[np.int64]]) -> TokenBatch:
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        return cls(np.concatenate([np.empty(0, dtype=np.int64), *rows]), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each text."""
        return self.offsets[1:] - self.offsets[:-1]

    @property
    def has_empty(self) -> bool:
        """Whether a text has no token."""
        return len(self.ids) == 0 if len(self.offsets) == 2 else bool((self.lengths == 0).any())

    def with_rows(self, rows: Mapping[int, NDArray[np.int64]]) -> TokenBatch:
        """The batch with these ids in rows that have none."""
        order = sorted(rows)
        lengths = self.lengths
        lengths[order] = [len(rows[row]) for row in order]
        places = np.repeat(self.offsets[order], lengths[order])
        offsets = np.zeros_like(self.offsets)
        np.cumsum(lengths, out=offsets[1:])
        return TokenBatch(np.insert(self.ids, places, np.concatenate([rows[row] for row in order])), offsets)

    def taken(self, rows: NDArray[np.int64]) -> TokenBatch:
        """The batch of these texts alone, in this order."""
        lengths = self.lengths[rows]
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return TokenBatch(self.ids[places], offsets)

    def rows(self) -> list[NDArray[np.int64]]:
        """The ids of each text."""
        return np.split(self.ids, self.offsets[1:-1]) if len(self) else []


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
    risks: NDArray[np.float32]
    """(queries) in [0, 1]; NaN where no risk model was read"""

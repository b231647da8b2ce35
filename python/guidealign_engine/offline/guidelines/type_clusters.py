"""Clusters inside each risk type, made of the seeds and kept, so that what comes later can be held against them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.offline.guidelines.clusters import Clusters, default_count


@dataclass(frozen=True, slots=True)
class TypeClusters:
    """Clusters, numbered through all risk types: a rare type has its own, however few its inputs are."""

    categories: tuple[str, ...]
    """risk type of each cluster"""
    by_type: Mapping[str, Clusters]
    first: Mapping[str, int]
    """number of the first cluster of each risk type"""

    @classmethod
    def fit(
        cls, categories: Sequence[str], vectors: NDArray[np.float32], *, per_type: int | None, seed: int
    ) -> TypeClusters:
        """Of vectors, float32 (inputs, dimension), and their risk types.

        per_type: clusters in a type, where it has as many inputs; None for the square root of the inputs that a type
        has on average.
        """
        if per_type is None:
            per_type = default_count(len(categories) // len(set(categories)))
        by_type, first, names = {}, {}, list[str]()
        for category in dict.fromkeys(categories):
            rows = _rows_of(category, categories)
            by_type[category] = Clusters.fit(vectors[rows], min(per_type, len(rows)), seed=seed)
            first[category] = len(names)
            names += [category] * len(by_type[category])
        return cls(tuple(names), by_type, first)

    def __len__(self) -> int:
        return len(self.categories)

    def of(self, categories: Sequence[str], vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """The number of the nearest cluster of its risk type, for each input."""
        found = np.empty(len(categories), dtype=np.int64)
        for category in dict.fromkeys(categories):
            rows = _rows_of(category, categories)
            found[rows] = self.first[category] + self.by_type[category].of(vectors[rows])
        return found


def _rows_of(category: str, categories: Iterable[str]) -> list[int]:
    return [row for row, other in enumerate(categories) if other == category]

"""Clusters of inputs by meaning, and how evenly inputs are spread over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.errors import ConfigError
from guidealign_engine.optional_packages import import_optional

_MOST = 256
_SAMPLED_ABOVE = 10_000


@dataclass(frozen=True, slots=True)
class Clusters:
    """Centres of clusters, float32 (clusters, dimension)."""

    centres: NDArray[np.float32]

    @classmethod
    def fit(cls, vectors: NDArray[np.float32], count: int, *, seed: int) -> Clusters:
        """At most `count` clusters of unit vectors, float32 (texts, dimension); the same for the same seed.

        Fewer where fewer of the vectors differ. Raises ConfigError when there are fewer vectors than clusters.
        """
        if not 1 <= count <= len(vectors):
            raise ConfigError(f"{count} clusters of {len(vectors)} inputs; allowed: 1 to {len(vectors)}")
        cluster = import_optional("sklearn.cluster", package="scikit-learn", extra="offline", purpose="clustering")
        count = min(count, len(np.unique(vectors, axis=0)))
        # Above so many, samples of the vectors move the centres: not quite as good, and many times as fast.
        sampled = len(vectors) > _SAMPLED_ABOVE
        means = (cluster.MiniBatchKMeans if sampled else cluster.KMeans)(count, random_state=seed, n_init=4)
        with _one_thread():
            means.fit(vectors)
        centres = cls(means.cluster_centers_.astype(np.float32))
        return cls(centres.centres[np.unique(centres.of(vectors))])

    def __len__(self) -> int:
        return len(self.centres)

    def of(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """The nearest centre of each vector, int64 (vectors)."""
        # |v - c|² without |v|², which is the same for every centre.
        distances = (self.centres**2).sum(axis=1) - 2.0 * (vectors @ self.centres.T)
        nearest: NDArray[np.int64] = distances.argmin(axis=1)
        return nearest


@dataclass(frozen=True, slots=True)
class Evenness:
    """How evenly inputs are spread over clusters."""

    inputs: int
    clusters: int
    entropy: float
    """of the shares, by that of equal ones: 1 when all clusters hold as many, 0 when one holds all"""
    largest_share: float
    smallest: int
    """inputs in the smallest cluster"""

    @classmethod
    def of(cls, counts: Sequence[int] | NDArray[np.int64]) -> Evenness:
        """counts: how many inputs each cluster holds, empty ones included."""
        sizes = np.asarray(counts, dtype=np.float64)
        total = sizes.sum()
        if not total:
            return cls(inputs=0, clusters=len(sizes), entropy=0.0, largest_share=0.0, smallest=0)
        shares = sizes[sizes > 0] / total
        entropy = -(shares * np.log(shares)).sum() / np.log(len(sizes)) if len(sizes) > 1 else 1.0
        return cls(
            inputs=int(total),
            clusters=len(sizes),
            entropy=float(entropy),
            largest_share=float(shares.max()),
            smallest=int(sizes.min()),
        )


def default_count(inputs: int) -> int:
    """Clusters for so many inputs: their square root, so that a cluster and the number of clusters grow alike."""
    return max(1, min(_MOST, round(sqrt(inputs))))


def _one_thread() -> Any:
    """Sums over threads have no fixed order, and a killed run has to find the same clusters again."""
    threads = import_optional("threadpoolctl", package="scikit-learn", extra="offline", purpose="clustering")
    return threads.threadpool_limits(limits=1)

"""Exact scores for the candidates of the index, folded to guidelines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from guidealign_engine import _native
from guidealign_engine.batches import RankedBatch
from guidealign_engine.config import RerankConfig
from guidealign_engine.library import Library


def rerank(
    queries: NDArray[np.float32], candidates: NDArray[np.int64], library: Library, config: RerankConfig
) -> RankedBatch:
    """Guidelines that own a candidate, scored on all of their stored vectors, best first.

    queries: float32 (queries, dimension), C-contiguous, unit length; candidates: int64 (queries, pool).
    The score is the best inner product of a guideline's vectors (or a smooth best) plus prior_weight * priority; equal
    scores put the lower position first. Raises ValueError for scores that are not finite.
    """
    return RankedBatch(*_native.rerank(library.native, queries, candidates, config.native))

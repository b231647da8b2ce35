"""From ranked guidelines to the few that are shown."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from guidealign_engine import _native
from guidealign_engine.batches import RankedBatch, SelectedBatch
from guidealign_engine.config import SelectConfig
from guidealign_engine.library import Library

_NO_COSTS = np.empty(0, dtype=np.int32)
_ALL_ALLOWED = np.empty(0, dtype=np.uint8)


def select(
    ranked: RankedBatch,
    library: Library,
    config: SelectConfig,
    *,
    allowed: NDArray[np.uint8] | None = None,
    token_costs: NDArray[np.int32] | None = None,
    token_budget: int | None = None,
) -> SelectedBatch:
    """At most k guidelines a query: above the thresholds, inside the token budget, no two of them near-duplicates.

    allowed: uint8 (guidelines), 0 = left out; token_costs: int32 (guidelines), what each takes of token_budget.
    """
    return SelectedBatch(
        *_native.select(
            library.native,
            ranked.guidelines,
            ranked.scores,
            ranked.matched,
            ranked.counts,
            _ALL_ALLOWED if allowed is None else allowed,
            _NO_COSTS if token_costs is None else token_costs,
            token_budget,
            config.native,
        )
    )

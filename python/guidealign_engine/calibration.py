"""Thresholds of a bundle, from inputs whose guidelines are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.config import Kind, Thresholds
from guidealign_engine.engine import Engine
from guidealign_engine.errors import ConfigError
from guidealign_engine.pairs import Pair

RELATIVE_CUT = 0.7
_FEWEST = 30


def calibrate(engine: Engine, pairs: Sequence[Pair]) -> tuple[Thresholds, dict[str, float]]:
    """For each kind, the score that best parts inputs that need a guideline of it from inputs that need none.

    Best means Youden's J (1950): the share of the former at or above the score, less the share of the latter. Inputs
    that need none are the pairs without a positive. Returns the thresholds, and both shares by kind.
    Raises ConfigError when either side has fewer than 30 inputs.
    """
    kind_of = {
        engine.library.record(place).id: engine.library.record(place).kind for place in range(len(engine.library))
    }
    needing_none = [pair.input for pair in pairs if not pair.positive]
    floors: dict[str, float] = {}
    quality: dict[str, float] = {}
    for kind in Kind:
        needing = [pair.input for pair in pairs if any(kind_of.get(name) == kind for name in pair.positive)]
        if min(len(needing), len(needing_none)) < _FEWEST:
            raise ConfigError(
                f"{len(needing)} inputs need a {kind} guideline and {len(needing_none)} need none; "
                f"at least {_FEWEST} of each are needed to calibrate"
            )
        scores = _best_scores(engine, needing, kind)
        idle_scores = _best_scores(engine, needing_none, kind)
        floor = max(scores, key=lambda score: (scores >= score).mean() - (idle_scores >= score).mean())
        # Rounded down, so that the input which set the score stays above it.
        floors[kind] = float(np.floor(floor * 1e4) / 1e4)
        quality[f"{kind}_found_at_threshold"] = round(float((scores >= floor).mean()), 4)
        quality[f"{kind}_false_alarms_at_threshold"] = round(float((idle_scores >= floor).mean()), 4)
    return Thresholds(floors[Kind.SAFETY], floors[Kind.QUALITY], RELATIVE_CUT), quality


def _best_scores(engine: Engine, inputs: Sequence[str], kind: Kind) -> NDArray[np.float64]:
    found = engine.retrieve_batch(inputs, k=1, min_score=-1.0, kinds=[kind])
    return np.array([retrieval.scores[0] if retrieval.scores else -1.0 for retrieval in found])

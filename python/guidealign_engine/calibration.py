"""Thresholds of a bundle, from inputs whose guidelines are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guidealign_engine.config import Thresholds
from guidealign_engine.engine import Engine
from guidealign_engine.errors import ConfigError
from guidealign_engine.pairs import Pair

RELATIVE_CUT = 0.7
_FEWEST = 30


def calibrate(engine: Engine, pairs: Sequence[Pair], *, false_alarms: float = 0.05) -> Thresholds:
    """The lowest score for each kind at which at most `false_alarms` of the inputs that need none get a guideline.

    Inputs that need none are the pairs without a positive. The rate is shared evenly between the kinds.
    Raises ConfigError when there are fewer than 30 of them.
    """
    needing_none = [pair.input for pair in pairs if not pair.positive]
    if len(needing_none) < _FEWEST:
        raise ConfigError(
            f"{len(needing_none)} inputs have an empty positive list; at least {_FEWEST} are needed to calibrate"
        )
    floors = {}
    for kind in ("safety", "quality"):
        found = engine.retrieve_batch(needing_none, k=1, min_score=-1.0, kinds=[kind])
        best = [retrieval.scores[0] if retrieval.scores else -1.0 for retrieval in found]
        floors[kind] = float(np.quantile(best, 1.0 - false_alarms / 2, method="higher"))
    return Thresholds(
        safety=round(min(1.0, floors["safety"] + 1e-4), 4),
        quality=round(min(1.0, floors["quality"] + 1e-4), 4),
        relative=RELATIVE_CUT,
    )

"""A few figures of a finished bundle on the dev split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guidealign_engine.engine import Engine
from guidealign_engine.errors import ConfigError
from guidealign_engine.offline.evaluation.metrics import estimate
from guidealign_engine.pairs import Pair

_K = 6


def dev_quality(engine: Engine, pairs: Sequence[Pair]) -> dict[str, float]:
    """recall@6 with a 95 % bootstrap interval, and hit@1, of the inputs for which a guideline fits; thresholds off."""
    fitting = [pair for pair in pairs if pair.positive]
    if not fitting:
        raise ConfigError("no dev pair names a guideline; give pairs with positive guidelines")
    found = engine.retrieve_batch([pair.input for pair in fitting], k=_K, min_score=-1.0, duplicate_ratio=None)
    ids = [[guideline.id for guideline in retrieval.guidelines] for retrieval in found]
    shares = np.array(
        [
            len(set(own) & set(pair.positive)) / min(_K, len(pair.positive))
            for own, pair in zip(ids, fitting, strict=True)
        ]
    )
    hits = [bool(own) and own[0] in pair.positive for own, pair in zip(ids, fitting, strict=True)]
    recall = estimate(shares)
    return {
        "inputs": len(fitting),
        "recall@6": round(recall.mean, 4),
        "recall@6_from": round(recall.low, 4),
        "recall@6_to": round(recall.high, 4),
        "hit@1": round(float(np.mean(hits)), 4),
    }

"""Measures of a ranking by ir-measures, and how far a mean may be off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.optional_packages import import_optional

# The names that people use, and those of ir-measures.
MEASURES = {"recall@6": "R@6", "nDCG@6": "nDCG@6", "MRR@10": "RR@10", "hit@1": "Success@1"}
_DRAWS = 1000
_SEED = 0
_BOUNDS = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over queries and its 95 % interval."""

    mean: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        return {name: round(value, 4) for name, value in asdict(self).items()}


def per_query(rankings: NDArray[np.int64], relevance: Sequence[Mapping[int, int]]) -> dict[str, NDArray[np.float64]]:
    """Each of MEASURES for each query, float64 (queries).

    rankings: int64 (queries, depth), positions best first, -1 where there are no more. The order is taken as it is:
    trec_eval, which ir-measures asks, would sort equal scores by id, so a place is handed over as its score.
    nDCG (Järvelin and Kekäläinen, 2002) takes the relevance itself as the gain, as trec_eval does.
    """
    measures = import_optional("ir_measures", package="ir-measures", extra="offline", purpose="measuring rankings")
    wanted = {measures.parse_measure(name): place for place, name in enumerate(MEASURES.values())}
    judged = {str(row): {str(id): grade for id, grade in each.items()} for row, each in enumerate(relevance)}
    run = {
        str(row): {str(id): float(-place) for place, id in enumerate(ranking.tolist()) if id >= 0}
        for row, ranking in enumerate(rankings)
    }
    values = np.zeros((len(wanted), len(relevance)))
    for metric in measures.iter_calc(list(wanted), judged, run):
        values[wanted[metric.measure], int(metric.query_id)] = metric.value
    return dict(zip(MEASURES, values, strict=True))


def estimate(values: NDArray[np.float64]) -> Estimate:
    """The mean of one value a query and its percentile bootstrap interval (Efron, 1979): 1,000 draws, seeded."""
    draws = np.random.default_rng(_SEED).choice(values, size=(_DRAWS, len(values))).mean(axis=1)
    low, high = np.quantile(draws, _BOUNDS)
    return Estimate(float(values.mean()), float(low), float(high))

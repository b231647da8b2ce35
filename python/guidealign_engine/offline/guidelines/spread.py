"""How a figure spreads over many texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Mean and percentiles of a figure; all 0 where nothing was counted."""

    count: int
    mean: float
    lowest: float
    p5: float
    median: float
    p95: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float], *, digits: int = 1) -> Spread:
        if not len(values):
            return cls(count=0, mean=0.0, lowest=0.0, p5=0.0, median=0.0, p95=0.0, highest=0.0)
        lowest, p5, median, p95, highest = (
            round(float(value), digits) for value in np.quantile(values, [0.0, 0.05, 0.5, 0.95, 1.0])
        )
        mean = round(float(np.mean(values)), digits)
        return cls(count=len(values), mean=mean, lowest=lowest, p5=p5, median=median, p95=p95, highest=highest)

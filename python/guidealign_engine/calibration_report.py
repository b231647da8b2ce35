"""What a calibrated bundle shows on held-out inputs: over all, and by the length of the query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.calibration import Calibration, needs_by_kind
from guidealign_engine.config import Kind, RiskModel, Thresholds
from guidealign_engine.engine import Engine
from guidealign_engine.pairs import Pair

_QUARTERS = 4
# Of the normal distribution, for an interval that holds 95 %.
_Z = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthBand:
    """Inputs of like length. Shares are None where no input is of the class that they are of."""

    shortest: int
    longest: int
    """Characters."""
    inputs: int
    need_safety: int
    safety_found: float | None
    """Share of the inputs that need a safety guideline which are shown one."""
    false_alarms: float | None
    """Share of the inputs that need none which are shown one."""
    false_alarms_interval: tuple[float, float] | None
    """95 % interval of that share (Wilson, 1927)."""
    quality_found: float | None
    min_risk_alone: float | None
    """The bound on the risk that the inputs of this band alone would have set."""
    auc: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationReport:
    """Thresholds, risk model, and what they do on the inputs that set them."""

    thresholds: Thresholds
    risk: RiskModel
    false_alarms_asked: float
    all: LengthBand
    by_length: tuple[LengthBand, ...]
    """Quarters of the inputs, shortest first."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def quality(self) -> Mapping[str, float]:
        """The figures over all, by name."""
        figures = {
            "risk_auc": self.all.auc,
            "safety_found": self.all.safety_found,
            "false_alarms": self.all.false_alarms,
            "quality_found": self.all.quality_found,
        }
        return {name: figure for name, figure in figures.items() if figure is not None}


@dataclass(frozen=True, slots=True)
class _Shown:
    """By input, what it needs, what it was shown, its risk and its length."""

    needs: Mapping[Kind, NDArray[np.bool_]]
    shown: Mapping[Kind, NDArray[np.bool_]]
    risks: NDArray[np.float64]
    lengths: NDArray[np.int64]


def report_on(engine: Engine, found: Calibration, pairs: Sequence[Pair], *, false_alarms: float) -> CalibrationReport:
    """engine: of the bundle that was calibrated. pairs: those that it was calibrated on."""
    retrievals = engine.retrieve_batch([pair.input for pair in pairs])
    shown = _Shown(
        needs=needs_by_kind(engine.library, pairs),
        shown={kind: np.array([any(g.kind == kind for g in each.guidelines) for each in retrievals]) for kind in Kind},
        risks=np.array([each.risk or 0.0 for each in retrievals]),
        lengths=np.array([len(pair.input) for pair in pairs]),
    )
    order = np.argsort(shown.lengths, kind="stable")
    return CalibrationReport(
        thresholds=found.thresholds,
        risk=found.risk,
        false_alarms_asked=false_alarms,
        all=_band(shown, order, false_alarms),
        by_length=tuple(_band(shown, rows, false_alarms) for rows in np.array_split(order, _QUARTERS)),
    )


def _band(shown: _Shown, rows: NDArray[np.int64], false_alarms: float) -> LengthBand:
    needs = shown.needs[Kind.SAFETY][rows]
    alarmed, risks = shown.shown[Kind.SAFETY][rows], shown.risks[rows]
    idle = ~needs
    return LengthBand(
        shortest=int(shown.lengths[rows].min()),
        longest=int(shown.lengths[rows].max()),
        inputs=len(rows),
        need_safety=int(needs.sum()),
        safety_found=_share(alarmed[needs]),
        false_alarms=_share(alarmed[idle]),
        false_alarms_interval=_wilson(int(alarmed[idle].sum()), int(idle.sum())),
        quality_found=_share(shown.shown[Kind.QUALITY][rows][shown.needs[Kind.QUALITY][rows]]),
        min_risk_alone=round(float(np.quantile(risks[idle], 1.0 - false_alarms)), 4) if idle.any() else None,
        auc=auc(risks, needs),
    )


def _share(hits: NDArray[np.bool_]) -> float | None:
    return round(float(hits.mean()), 4) if len(hits) else None


def _wilson(hits: int, count: int) -> tuple[float, float] | None:
    if not count:
        return None
    share, weight = hits / count, _Z * _Z / count
    middle = (share + weight / 2) / (1 + weight)
    half = np.sqrt(share * (1 - share) * weight + weight * weight / 4) / (1 + weight)
    return round(float(middle - half), 4), round(float(middle + half), 4)


def auc(risks: NDArray[np.float64], needs: NDArray[np.bool_]) -> float | None:
    """Area under the ROC curve: how often an input that needs it has the higher risk, ties counted half."""
    positive, negative = risks[needs], np.sort(risks[~needs])
    if not len(positive) or not len(negative):
        return None
    below = np.searchsorted(negative, positive, side="left") + np.searchsorted(negative, positive, side="right")
    return round(float(below.mean()) / (2 * len(negative)), 4)

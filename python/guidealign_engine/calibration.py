"""Thresholds and risk model of a bundle, from inputs whose guidelines are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from guidealign_engine import _native
from guidealign_engine.bundle import Manifest
from guidealign_engine.config import Kind, RiskModel, Thresholds, check_range
from guidealign_engine.engine import Engine
from guidealign_engine.errors import ConfigError
from guidealign_engine.library import KINDS, Library
from guidealign_engine.pairs import Pair

RELATIVE_CUT = 0.7
FALSE_ALARMS = 0.1
RISK_TEMPERATURE = 0.1
_LEFT_OUT = 0.02
_FEWEST = 30
_RIDGE = 1e-3
_STEPS = 100


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was found, and how well it does on the inputs it was found on."""

    risk: RiskModel
    thresholds: Thresholds
    quality: Mapping[str, float]


def calibrate(engine: Engine, pairs: Sequence[Pair], *, false_alarms: float = FALSE_ALARMS) -> Calibration:
    """Fits the risk model, and chooses from which risk and score on a guideline is shown.

    The model is a logistic regression of "needs a safety guideline" on how well each kind's candidates fit (see
    `RiskModel`), both classes weighing the same. Safety guidelines are shown from the risk on that `false_alarms` of
    the inputs without one reach; quality guidelines up to the risk that 2 % of the inputs with one exceed. The lowest
    scores are those that 2 % of the inputs that need the kind stay below.
    Raises ConfigError when fewer than 30 inputs need a safety guideline, or fewer than 30 need none.
    """
    check_range("false_alarms", false_alarms, 0.0, 1.0)
    needs = needs_by_kind(engine.library, pairs)
    needs_safety, needs_quality = needs[Kind.SAFETY], needs[Kind.QUALITY]
    check_enough(needs_safety)
    best, fits = _scores_by_kind(engine, [pair.input for pair in pairs])
    model = _fit(fits, needs_safety)
    risks = _risks(model, fits)
    thresholds = Thresholds(
        safety=_floor(best[needs_safety, 0]),
        quality=_floor(best[needs_quality, 1]) if needs_quality.any() else -1.0,
        relative=RELATIVE_CUT,
        min_risk=_rounded_up(np.quantile(risks[~needs_safety], 1.0 - false_alarms)),
        max_risk=_rounded_up(np.quantile(risks[needs_quality], 1.0 - _LEFT_OUT)) if needs_quality.any() else 1.0,
    )
    return Calibration(model, thresholds, _shares(thresholds, best, risks, needs_safety, needs_quality))


def needs_by_kind(library: Library, pairs: Sequence[Pair]) -> dict[Kind, NDArray[np.bool_]]:
    """For each kind, bool (pairs): whether a guideline of it fits the input."""
    return needs_of({record.id: record.kind for record in map(library.record, range(len(library)))}, pairs)


def needs_of(kind_of: Mapping[str, str], pairs: Sequence[Pair]) -> dict[Kind, NDArray[np.bool_]]:
    """kind_of: the kind of each guideline by its id."""
    return {kind: np.array([any(kind_of.get(id) == kind for id in pair.positive) for pair in pairs]) for kind in Kind}


def check_enough(needs_safety: NDArray[np.bool_]) -> None:
    """Raises ConfigError when fewer than 30 inputs need a safety guideline, or fewer than 30 need none."""
    if min(needs_safety.sum(), (~needs_safety).sum()) < _FEWEST:
        raise ConfigError(
            f"{needs_safety.sum()} inputs need a safety guideline and {(~needs_safety).sum()} need none; "
            f"at least {_FEWEST} of each are needed to calibrate"
        )


def _scores_by_kind(engine: Engine, inputs: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Best score, and fit as the risk model reads it, by input and kind; float64 (inputs, kinds)."""
    ranked = engine.rank_batch(inputs)
    best, fits = np.full((2, len(inputs), len(KINDS)), -1.0)
    for row, count in enumerate(ranked.counts):
        kinds = engine.library.kinds[ranked.guidelines[row, :count]]
        scores = ranked.scores[row, :count].astype(np.float64)
        read = min(int(count), _native.RISK_CANDIDATES)
        for kind in range(len(KINDS) if count else 0):
            own = scores[kinds == kind]
            counted = np.where(kinds[:read] == kind, scores[:read], scores[read - 1])
            fits[row, kind] = RISK_TEMPERATURE * np.log(np.exp(counted / RISK_TEMPERATURE).mean())
            best[row, kind] = own[0] if len(own) else -1.0
    return best, fits


def _fit(fits: NDArray[np.float64], needs_safety: NDArray[np.bool_]) -> RiskModel:
    """Logistic regression by Newton's method, with a touch of ridge so that parted classes have a solution too."""
    inputs = np.column_stack([np.ones(len(fits)), fits])
    wanted = needs_safety.astype(np.float64)
    share = wanted.mean()
    balance = np.where(needs_safety, 0.5 / share, 0.5 / (1.0 - share))
    ridge = _RIDGE * len(fits) * np.diag([0.0, 1.0, 1.0])
    weights = np.zeros(3)
    for _ in range(_STEPS):
        risks = 1.0 / (1.0 + np.exp(-inputs @ weights))
        gradient = inputs.T @ (balance * (risks - wanted)) + ridge @ weights
        curvature = (inputs * (balance * risks * (1.0 - risks))[:, None]).T @ inputs + ridge
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if np.abs(step).max() < 1e-9:
            break
    bias, safety, quality = (round(float(weight), 4) for weight in weights)
    return RiskModel(bias=bias, safety=safety, quality=quality, temperature=RISK_TEMPERATURE)


def _risks(model: RiskModel, fits: NDArray[np.float64]) -> NDArray[np.float64]:
    risks: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-(model.bias + fits @ [model.safety, model.quality])))
    return risks


def _floor(scores: NDArray[np.float64]) -> float:
    # Rounded down, so that the input which set the score stays above it.
    return float(np.clip(np.floor(np.quantile(scores, _LEFT_OUT) * 1e4) / 1e4, -1.0, 1.0))


def _rounded_up(risk: float) -> float:
    return float(min(1.0, np.ceil(risk * 1e4) / 1e4))


def _shares(
    thresholds: Thresholds,
    best: NDArray[np.float64],
    risks: NDArray[np.float64],
    needs_safety: NDArray[np.bool_],
    needs_quality: NDArray[np.bool_],
) -> dict[str, float]:
    """By kind: the share of inputs that are shown a guideline, among those that need one and those that need none."""
    shown = {
        Kind.SAFETY: (best[:, 0] >= thresholds.safety) & (risks >= thresholds.min_risk),
        Kind.QUALITY: (best[:, 1] >= thresholds.quality) & (risks <= thresholds.max_risk),
    }
    shares = {}
    for kind, needs in ((Kind.SAFETY, needs_safety), (Kind.QUALITY, needs_quality)):
        for name, among in (("found", needs), ("false_alarms", ~needs)):
            if among.any():
                shares[f"{kind}_{name}_at_threshold"] = round(float(shown[kind][among].mean()), 4)
    return shares


def calibrated(manifest: Manifest, found: Calibration) -> Manifest:
    """The manifest with what calibration found."""
    quality = {**manifest.quality, **found.quality}
    return replace(manifest, thresholds=found.thresholds, risk=found.risk, quality=quality)

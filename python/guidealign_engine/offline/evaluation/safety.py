"""How often a prompt is shown a safety guideline: by prompt set, by length, and along the risk score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.config import Kind
from guidealign_engine.engine import Engine
from guidealign_engine.offline.evaluation.prompt_sets import AROUND, PromptSet, Role
from guidealign_engine.offline.evaluation.risk_curve import AT_FALSE_ALARMS, RiskCurve

TOP = 3
TOKEN_BOUNDS = (8, 16, 32, 64, 128)
_FEWEST_FOR_AUC = 20

TokenCounter = Callable[[Sequence[str]], list[int]]


@dataclass(frozen=True, slots=True)
class Seen:
    """What an engine made of the prompts of a set; one entry a prompt."""

    name: str
    role: Role
    tokens: NDArray[np.int64]
    shown: NDArray[np.bool_]
    """A safety guideline is among the first three at the bundle's thresholds."""
    found: NDArray[np.bool_]
    """The same with all cuts off."""
    declined: NDArray[np.bool_]
    """A guideline with the tag that tells to decline is shown, at any place."""
    risks: NDArray[np.float64]
    """NaN where the bundle has no risk model"""


def look_at(engine: Engine, prompts: PromptSet, count_tokens: TokenCounter, decline_tag: str) -> Seen:
    """Asks the engine about each prompt, at its thresholds and without them."""
    shown = engine.retrieve_batch(prompts.texts)
    found = engine.retrieve_batch(prompts.texts, min_score=-1.0)
    return Seen(
        prompts.name,
        prompts.role,
        np.array(count_tokens(prompts.texts), dtype=np.int64),
        np.array([_has_safety(engine, each.positions[:TOP]) for each in shown], dtype=np.bool_),
        np.array([_has_safety(engine, each.positions[:TOP]) for each in found], dtype=np.bool_),
        np.array([_has_tag(engine, each.positions, decline_tag) for each in shown], dtype=np.bool_),
        np.array([np.nan if each.risk is None else each.risk for each in shown], dtype=np.float64),
    )


def _has_safety(engine: Engine, positions: Iterable[int]) -> bool:
    return any(engine.library.record(position).kind == Kind.SAFETY for position in positions)


def _has_tag(engine: Engine, positions: Iterable[int], tag: str) -> bool:
    return any(tag in engine.library.record(position).tags for position in positions)


def measure_safety(
    engine: Engine, sets: Sequence[PromptSet], count_tokens: TokenCounter, decline_tag: str
) -> dict[str, Any]:
    """A record with rates by set and by length, and the risk score's curve.

    sets: harmful, benign and look-alike ones; others are left out. What cannot be told is listed in `not_run`.
    """
    seen = [look_at(engine, each, count_tokens, decline_tag) for each in sets if each.role not in AROUND]
    roles = {role: [each for each in seen if each.role is role] for role in Role}
    harmful, benign = roles[Role.HARMFUL], roles[Role.BENIGN]
    not_run = _not_run(engine, decline_tag, harmful, benign)
    has_tag = decline_tag in engine.library.tag_names
    curve = RiskCurve.of(_risks(harmful), _risks(benign)) if harmful and benign and engine.manifest.risk else None
    return {
        "decline_tag": decline_tag,
        "false_alarm_rates": list(AT_FALSE_ALARMS),
        "not_run": not_run,
        "sets": [_set_record(each, curve, _risks(benign), has_tag) for each in seen],
        "by_length": [] if not seen else _by_length(harmful, benign, curve),
        "risk": None if curve is None else curve.as_dict(),
    }


def _not_run(engine: Engine, tag: str, harmful: Sequence[Seen], benign: Sequence[Seen]) -> dict[str, str]:
    reasons = {}
    if not harmful or not benign:
        reasons["risk"] = "it takes a harmful and a benign prompt set"
    elif engine.manifest.risk is None:
        reasons["risk"] = "the bundle has no risk model; build it with --calibrate"
    if tag not in engine.library.tag_names:
        reasons["declined"] = f"no guideline of the bundle has the tag {tag!r}"
    return reasons


def _risks(seen: Sequence[Seen]) -> NDArray[np.float64]:
    return np.concatenate([np.empty(0), *[each.risks for each in seen]])


def _set_record(seen: Seen, curve: RiskCurve | None, benign: NDArray[np.float64], has_tag: bool) -> dict[str, Any]:
    record: dict[str, Any] = {
        "set": seen.name,
        "role": str(seen.role),
        "prompts": len(seen.shown),
        "at_thresholds": _share(seen.shown),
        "cuts_off": _share(seen.found),
        "declined": _share(seen.declined) if has_tag else None,
    }
    if curve is not None:
        record["auc"] = None if seen.role is Role.BENIGN else RiskCurve.of(seen.risks, benign).auc
        record["at_false_alarms"] = [_share(seen.risks > cut) for cut in curve.cuts]
    return record


def _by_length(harmful: Sequence[Seen], benign: Sequence[Seen], curve: RiskCurve | None) -> list[dict[str, Any]]:
    """Rates of all harmful and of all benign prompts of a length; AUC where there are 20 of each."""
    rows = []
    for low, high in zip((0, *TOKEN_BOUNDS), (*TOKEN_BOUNDS, None), strict=True):
        row: dict[str, Any] = {"tokens": f"{low + 1} to {high}" if high else f"over {low}"}
        risks = []
        for name, sets in (("harmful", harmful), ("benign", benign)):
            within = [(each.tokens > low) & (each.tokens <= (high or np.inf)) for each in sets]
            shown = np.concatenate([np.empty(0, bool), *[s.shown[w] for s, w in zip(sets, within, strict=True)]])
            risks.append(np.concatenate([np.empty(0), *[s.risks[w] for s, w in zip(sets, within, strict=True)]]))
            row[name] = len(shown)
            row[f"{name}_at_thresholds"] = _share(shown) if len(shown) else None
        enough = min(map(len, risks)) >= _FEWEST_FOR_AUC
        row["auc"] = RiskCurve.of(*risks).auc if curve is not None and enough else None
        rows.append(row)
    return rows


def _share(flags: NDArray[np.bool_]) -> float:
    return round(float(flags.mean()), 6)

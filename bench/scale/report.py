"""Outcomes as figures of a result file, and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench.measure import Figure
from bench.scale.measure_scale import BATCHES
from bench.scale.memory import Resident
from bench.scale.run_sizes import Outcome

RECALL = 0.97
# By size: p50 and p99 of one prompt in microseconds, bytes beyond the texts.
TARGETS: dict[str, dict[str, float]] = {
    "33kx5": {"p50": 200},
    "1M": {"p50": 600, "p99": 1500, "beyond_texts": 400e6},
}
GROWTH = ("33k", "1M", 4.0)


def figures(outcomes: Sequence[Outcome], small: Resident) -> list[dict[str, Any]]:
    """Each with name, unit, p50, p99, spread, noisy and met; `met` is None where nothing was promised."""
    found = [figure for outcome in outcomes for figure in _of_size(outcome, small)]
    by_size = {outcome.size.name: outcome for outcome in outcomes}
    smaller, larger, limit = GROWTH
    if smaller in by_size and larger in by_size:
        found.append(_growth(by_size[smaller], by_size[larger], limit))
    return found


def records(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """What was measured on: how each library was made, its index, its files, and other widths of its search."""
    return [
        {
            "size": outcome.size.name,
            "guidelines": outcome.size.guidelines,
            "vectors": outcome.size.vectors,
            "made": outcome.made,
            "index": outcome.index,
            "bundle_bytes": outcome.bundle_bytes,
            "bytes_per_second": _rounded(outcome.measured.bytes_per_second),
            "widths": [asdict(width) for width in outcome.widths],
        }
        for outcome in outcomes
    ]


def table(result: dict[str, Any]) -> str:
    """Of all figures, as text."""
    met = {True: "yes", False: "NO", None: ""}
    lines = [
        f"{figure['name']:<32} {figure['p50']:>14,.6g} {figure['unit']:<10}"
        f" p99 {figure['p99'] or '-'!s:>10}  spread {figure['spread']:.0%}{' noisy' if figure['noisy'] else ''}"
        f" {met[figure['met']]}"
        for figure in result["figures"]
    ]
    return "\n".join(lines)


def _of_size(outcome: Outcome, small: Resident) -> list[dict[str, Any]]:
    name, measured = outcome.size.name, outcome.measured
    targets = TARGETS.get(name, {})
    by_name = measured.figures
    one = by_name["one"]
    rows = [
        _timed(f"{name}.one", "us", one, met=_one_met(one, targets)),
        _timed(f"{name}.rest", "us", by_name["rest"]),
        *(_timed(f"{name}.{key}", "us", figure) for key, figure in by_name.items() if key.startswith("stage_")),
        *(_timed(f"{name}.batch_{size}", "prompts/s", by_name[f"batch_{size}"]) for size in BATCHES),
        _single(f"{name}.recall", "share", outcome.recall, met=outcome.recall >= RECALL),
        _single(f"{name}.recall_of_enough", "share", outcome.recall_of_enough),
        _single(f"{name}.load", "us", measured.load_us),
        _single(f"{name}.first_request", "us", measured.first_request_us),
        _single(f"{name}.bundle", "bytes", sum(outcome.bundle_bytes.values())),
    ]
    beyond = measured.after_requests.beyond_texts
    limit = targets.get("beyond_texts")
    rows += [
        _single(f"{name}.resident", "bytes", measured.after_requests.total),
        _single(f"{name}.resident_after_load", "bytes", measured.after_load.total),
        _single(f"{name}.beyond_texts", "bytes", beyond, met=None if limit is None else beyond <= limit),
        _single(f"{name}.beyond_texts_and_small_engine", "bytes", max(0, beyond - small.beyond_texts)),
    ]
    for stage, floor in measured.floors_us.items():
        rows.append(_single(f"{name}.floor_{stage}", "us", floor))
        rows.append(_single(f"{name}.over_floor_{stage}", "times", by_name[f"stage_{stage}"].typical.p50 / floor))
        rows[-1]["better"] = "less"
    return rows


def _one_met(one: Figure, targets: dict[str, float]) -> bool | None:
    typical = one.typical
    pairs = [(typical.p50, targets.get("p50")), (typical.p99, targets.get("p99"))]
    judged = [value is not None and value <= limit for value, limit in pairs if limit is not None]
    return all(judged) if judged else None


def _growth(smaller: Outcome, larger: Outcome, limit: float) -> dict[str, Any]:
    pairs = zip(larger.measured.figures["one"].rounds, smaller.measured.figures["one"].rounds, strict=True)
    ratios = [big.p50 / small.p50 for big, small in pairs]
    row = _single(f"growth_{smaller.size.name}_to_{larger.size.name}", "times", sorted(ratios)[len(ratios) // 2])
    spread = (max(ratios) - min(ratios)) / row["p50"]
    noisy = smaller.measured.figures["one"].noisy or larger.measured.figures["one"].noisy
    return {**row, "better": "less", "spread": round(spread, 3), "noisy": noisy, "met": row["p50"] <= limit}


def _timed(name: str, unit: str, figure: Figure, *, met: bool | None = None) -> dict[str, Any]:
    typical = figure.typical
    return {
        "name": name,
        "unit": unit,
        "p50": _rounded(typical.p50),
        "p99": None if typical.p99 is None else _rounded(typical.p99),
        "spread": round(figure.spread, 3),
        "noisy": figure.noisy,
        "met": met,
        "p50_by_round": [_rounded(each.p50) for each in figure.rounds],
    }


def _single(name: str, unit: str, value: float, *, met: bool | None = None) -> dict[str, Any]:
    """Measured once."""
    return {"name": name, "unit": unit, "p50": _rounded(value), "p99": None, "spread": 0.0, "noisy": False, "met": met}


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")

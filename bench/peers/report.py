"""Outcomes to a result file, a table and a plot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.measure import Figure
from bench.peers.run import MEASURED, UNITS, Outcome

_HEADER = ("row", "one prompt p50", "p99", "prompts/s, batches of 64", "recall@6", "quality@6", "memory", "start")


def records(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """`rows`, also those that were not measured, and `figures` in the form of bench.report, named row/figure."""
    return {
        "rows": [
            {
                "name": outcome.row.name,
                "title": outcome.row.peer.title,
                "encoder": outcome.row.encoder,
                "near_duplicates_by": outcome.row.peer.duplicates.value,
                "status": outcome.status,
                "reason": outcome.reason,
                "note": outcome.row.peer.note,
            }
            for outcome in outcomes
        ],
        "figures": [
            _record(f"{outcome.row.name}/{name}", UNITS[name], figure)
            for outcome in outcomes
            for name, figure in outcome.figures.items()
        ],
    }


def _record(name: str, unit: str, figure: Figure) -> dict[str, Any]:
    typical = figure.typical
    return {
        "name": name,
        "unit": unit,
        "p50": _rounded(typical.p50),
        "p99": None if typical.p99 is None else _rounded(typical.p99),
        "spread": round(figure.spread, 3) if typical.p50 else 0.0,
        "noisy": bool(typical.p50) and figure.noisy,
        "p50_by_round": [_rounded(each.p50) for each in figure.rounds],
    }


def table(result: Mapping[str, Any]) -> str:
    """Markdown: a line a row, then what is to be known of some of them."""
    found = {figure["name"]: figure for figure in result["figures"]}
    lines = [_HEADER, ("---",) * len(_HEADER), *(_cells(row, found) for row in result["rows"])]
    notes = [f"- {row['name']}: {row['note']}." for row in result["rows"] if row["note"]]
    return "\n".join([*(f"| {' | '.join(cells)} |" for cells in lines), "", *dict.fromkeys(notes)])


def _cells(row: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    title = f"{row['title']} ({row['encoder']})"
    if row["status"] != MEASURED:
        return (title, f"{row['status']}: {row['reason']}", *[""] * (len(_HEADER) - 2))
    of = {name: found.get(f"{row['name']}/{name}") for name in UNITS}
    return (
        title,
        _shown(of["single"], "p50"),
        _shown(of["single"], "p99"),
        *(_shown(of[name], "p50") for name in ("batch_64", "recall", "quality", "resident", "load")),
    )


def _shown(figure: Mapping[str, Any] | None, key: str) -> str:
    value = None if figure is None else figure[key]
    if figure is None or value is None:
        return "–"
    shown = {
        "us": f"{value:,.0f} µs" if value < 10_000 else f"{value / 1000:,.1f} ms",
        "prompts/s": f"{value:,.0f}" if value >= 10 else f"{value:.2f}",
        "bytes": f"{value / 1e6:,.0f} MB",
        "share": f"{value:.1%}",
    }[figure["unit"]]
    return f"{shown}, noisy" if figure["noisy"] and key == "p50" else shown


def plot(result: Mapping[str, Any], file: Path) -> None:
    """Time of one prompt by row, p50 with a line to p99, on a logarithmic scale."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    found = {figure["name"]: figure for figure in result["figures"]}
    rows = [row for row in result["rows"] if f"{row['name']}/single" in found]
    rows.sort(key=lambda row: -found[f"{row['name']}/single"]["p50"])
    figure, axes = pyplot.subplots(figsize=(9, 1.2 + 0.32 * len(rows)), layout="constrained")
    for place, row in enumerate(rows):
        single = found[f"{row['name']}/single"]
        colour = "tab:red" if row["encoder"] == "bundle" else "tab:blue" if row["encoder"] == "student" else "tab:gray"
        p50_ms = single["p50"] / 1000
        axes.hlines(place, p50_ms, (single["p99"] or single["p50"]) / 1000, color=colour, linewidth=2)
        axes.plot(p50_ms, place, "o", color=colour)
    axes.set_yticks(range(len(rows)), [f"{row['title']} ({row['encoder']})" for row in rows])
    axes.set_xscale("log")
    axes.set_xlabel("ms, one prompt to a guided prompt, one thread: p50, and a line to p99")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(file, dpi=130)
    pyplot.close(figure)


def as_json(result: Mapping[str, Any]) -> str:
    """Indented, with one row and one figure a line."""
    text = json.dumps({**result, "rows": [], "figures": []}, indent=2, ensure_ascii=False)
    for name in ("rows", "figures"):
        lines = ",\n".join(f"    {json.dumps(each, ensure_ascii=False)}" for each in result[name])
        text = text.replace(f'"{name}": []', f'"{name}": [\n{lines}\n  ]', 1)
    return text + "\n"


def _rounded(value: float) -> float:
    """Four digits say all that a measurement knows."""
    return float(f"{value:.4g}")

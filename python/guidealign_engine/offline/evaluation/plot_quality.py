"""Pictures of what systems find, and of what that costs in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guidealign_engine.offline.guidelines.plots import INK, QUIET, grid, label_bars, new_figure, title, write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#9aa5b1", "#b3701a", "#1d6a96", "#7fb2d1", "#5b8c5a", "#c0392b", "#6b4c9a", "#2f9e8f")
_ROW, _GAP = 0.16, 0.6


def plot_quality(rows: Sequence[Mapping[str, Any]], file: Path, *, measure: str = "nDCG@6") -> None:
    """One line a set and system: the mean, and a bar for its 95 % interval. Sets from the top in their order."""
    systems = list(dict.fromkeys(row["system"] for row in rows))
    sets = list(dict.fromkeys(row["set"] for row in rows))
    step = 1.0 / (len(systems) + _GAP / _ROW * 0.5)
    figure = new_figure(9.0, 1.4 + len(sets) * (_ROW * len(systems) + _GAP * 0.5))
    axes = figure.add_subplot()
    for number, system in enumerate(systems):
        chosen = [row for row in rows if row["system"] == system]
        places = [sets.index(row["set"]) + (number - (len(systems) - 1) / 2) * step for row in chosen]
        means = [row[measure]["mean"] for row in chosen]
        around = [
            [row[measure]["mean"] - row[measure]["low"] for row in chosen],
            [row[measure]["high"] - row[measure]["mean"] for row in chosen],
        ]
        colour = COLOURS[number % len(COLOURS)]
        axes.errorbar(means, places, xerr=around, fmt="o", color=colour, markersize=4.5, linewidth=1.6, label=system)
    label_bars(axes, sets)
    grid(axes, "x")
    axes.set_ylim(len(sets) - 0.45, -0.55)
    axes.set_xlim(0, 1)
    title(axes, f"{measure}, with 95 % intervals")
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=min(3, len(systems)), frameon=False, labelcolor=INK
    )
    figure.tight_layout()
    write_figure(figure, file)


def plot_pareto(points: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Latency at 15 tokens against nDCG@6, on the own test split and on the mean of the judged sets.

    points: encoder, p50_us, own and judged (or None). The stepped line joins those that no other one beats in both.
    """
    columns = [name for name in ("own", "judged") if any(point[name] is not None for point in points)]
    figure = new_figure(1.0 + 5.0 * len(columns), 4.4)
    for number, column in enumerate(columns, start=1):
        axes = figure.add_subplot(1, len(columns), number)
        shown = [point for point in points if point[column] is not None]
        _front(axes, shown, column)
        for place, point in enumerate(shown):
            colour = COLOURS[(place + 1) % len(COLOURS)]
            axes.scatter([point["p50_us"]], [point[column]], color=colour, s=44, zorder=3)
            axes.annotate(
                point["encoder"],
                (point["p50_us"], point[column]),
                xytext=(0, 8 if place % 2 else -15),
                textcoords="offset points",
                ha="center",
                color=INK,
                fontsize=8.5,
            )
        axes.set_xscale("log")
        axes.margins(x=0.3, y=0.3)
        grid(axes, "y")
        axes.set_xlabel("µs from text to vector, 15 tokens, one thread (p50)", color=INK, fontsize=8.5)
        title(axes, "nDCG@6, own test split" if column == "own" else "nDCG@6, mean of judged sets")
    figure.tight_layout()
    write_figure(figure, file)


def _front(axes: Axes, points: Sequence[Mapping[str, Any]], column: str) -> None:
    front = [
        point
        for point in points
        if not any(
            other["p50_us"] <= point["p50_us"] and other[column] >= point[column] and other is not point
            for other in points
        )
    ]
    front = sorted(front, key=lambda point: point["p50_us"])
    axes.step(
        [point["p50_us"] for point in front],
        [point[column] for point in front],
        where="post",
        color=QUIET,
        linewidth=1.0,
        linestyle="--",
    )

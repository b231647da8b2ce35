"""Pictures of when a safety guideline is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guidealign_engine.offline.guidelines.plots import (
    ALARM,
    INK,
    QUIET,
    grid,
    label_bars,
    new_figure,
    title,
    write_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROLES = {"harmful": "#1d6a96", "benign": "#b3701a", "look-alike": "#7b8794"}
# Of fewer prompts of a length, no rate is drawn.
_FEWEST = 20


def plot_roc(risk: Mapping[str, Any], file: Path) -> None:
    """Share of harmful prompts found against false alarms, both by the risk score; the right half up to 20 %."""
    figure = new_figure(10.0, 4.4)
    for number, (reach, heading) in enumerate(
        ((1.0, f"ROC of the risk score, AUC {risk['auc']:.3f}"), (0.2, "up to 20 %"))
    ):
        axes = figure.add_subplot(1, 2, number + 1)
        axes.plot(risk["roc"]["false_alarms"], risk["roc"]["found"], color=_ROLES["harmful"], linewidth=1.8)
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle="--")
        for point in risk["at_false_alarms"]:
            axes.scatter([point["false_alarms"]], [point["found"]], color=ALARM, s=20, zorder=3)
            if reach < 1:
                axes.annotate(
                    f"{point['found']:.1%}",
                    (point["false_alarms"], point["found"]),
                    xytext=(5, -11),
                    textcoords="offset points",
                    color=INK,
                    fontsize=8.5,
                )
        axes.set_xlim(0, reach)
        axes.set_ylim(0, 1.02)
        grid(axes, "y")
        axes.set_xlabel("false alarms among benign prompts", color=INK, fontsize=8.5)
        axes.set_ylabel("harmful prompts found", color=INK, fontsize=8.5)
        title(axes, heading)
    figure.tight_layout()
    write_figure(figure, file)


def plot_rates(safety: Mapping[str, Any], file: Path) -> None:
    """Shares shown a safety guideline at the shipped thresholds, by set and by length of the query."""
    sets = safety["sets"]
    figure = new_figure(11.0, 1.6 + 0.32 * max(len(sets), 6))
    left, right = figure.subplots(1, 2)
    _bars(left, sets)
    _by_length(right, safety["by_length"])
    figure.tight_layout()
    write_figure(figure, file)


def _bars(axes: Axes, sets: Sequence[Mapping[str, Any]]) -> None:
    places = range(len(sets))
    shares = [one["at_thresholds"] for one in sets]
    axes.barh(places, shares, color=[_ROLES[one["role"]] for one in sets], height=0.7)
    for place, share in zip(places, shares, strict=True):
        axes.text(share + 0.01, place, f"{share:.1%}", va="center", color=INK, fontsize=8.5)
    label_bars(axes, [f"{one['set']} ({one['role']})" for one in sets])
    axes.set_ylim(len(sets) - 0.5, -0.5)
    axes.set_xlim(0, 1.15)
    axes.xaxis.set_visible(False)
    title(axes, "a safety guideline among the first three")


def _by_length(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    labels = [row["tokens"] for row in rows]
    for role in ("harmful", "benign"):
        chosen = [(place, row[f"{role}_at_thresholds"]) for place, row in enumerate(rows) if row[role] >= _FEWEST]
        axes.plot(
            [place for place, _ in chosen],
            [share for _, share in chosen],
            marker="o",
            markersize=4,
            color=_ROLES[role],
            label=role,
        )
    axes.set_xticks(range(len(labels)), labels)
    axes.set_ylim(0, 1.02)
    grid(axes, "y")
    axes.legend(frameon=False, labelcolor=INK)
    axes.set_xlabel("tokens of the query", color=INK, fontsize=8.5)
    title(axes, "the same by length")

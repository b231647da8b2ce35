"""The picture of what a library covers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from guidealign_engine.offline.guidelines.plots import (
    INK,
    PALE,
    QUIET,
    STRONG,
    bare,
    grid,
    label_bars,
    new_figure,
    title,
    write_figure,
)
from guidealign_engine.offline.guidelines.stats import CategoryStats, LibraryStats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_BARS = 60
# In inches. One scale holds for both columns, and no column becomes narrower than this share of the wider one.
_WIDTH, _MARGIN, _LABELS, _ROW = 14.0, 0.3, 2.35, 0.26
_TOP, _BOTTOM = 1.1, 0.55
_NARROWEST = 0.45
# The small panels below the shorter column.
_PANEL_HEIGHT, _PANEL_GAP = 2.0, 0.8


def plot_library(stats: LibraryStats, file: Path) -> None:
    """Guidelines by category, one column a kind, and below the shorter column how long and how varied they are.

    Where held-out inputs were given, the pale end of a bar is guidelines without one in some split.
    """
    kinds = [kind for kind, count in stats.kinds.items() if count]
    columns = {kind: [row for row in stats.categories if row.kind == kind][:_MOST_BARS] for kind in kinds}
    shorter = min(columns, key=lambda kind: len(columns[kind]))
    bars = {kind: _ROW * len(column) for kind, column in columns.items()}
    height = _TOP + max(*bars.values(), bars[shorter] + _PANEL_GAP + _PANEL_HEIGHT) + _BOTTOM
    figure = new_figure(_WIDTH, height)
    longest = {kind: max(row.guidelines for row in column) for kind, column in columns.items()}
    reach = {kind: max(longest[kind], _NARROWEST * max(longest.values())) * 1.08 for kind in columns}
    inches_per_guideline = (_WIDTH - len(columns) * (_LABELS + 2 * _MARGIN)) / sum(reach.values())
    left = _MARGIN
    for kind, column in columns.items():
        width = reach[kind] * inches_per_guideline
        place = (left + _LABELS, height - _TOP - bars[kind], width, bars[kind])
        _category_bars(_axes(figure, place), kind, column, reach[kind])
        _text(figure, left, height - _TOP + 0.16, _column_title(stats, kind, len(column)), STRONG[kind], 10.5)
        if kind == shorter:
            _panels(figure, stats, left, height - _TOP - bars[kind] - _PANEL_GAP, _LABELS + width)
        left += _LABELS + width + 2 * _MARGIN
    _heading(figure, stats, height)
    write_figure(figure, file)


def _axes(figure: Figure, inches: tuple[float, float, float, float]) -> Axes:
    """left, bottom, width, height"""
    width, height = figure.get_size_inches()
    left, bottom, across, up = inches
    return figure.add_axes((left / width, bottom / height, across / width, up / height))


def _category_bars(axes: Axes, kind: str, column: Sequence[CategoryStats], reach: float) -> None:
    places = range(len(column))
    complete = [row.guidelines if row.complete is None else row.complete for row in column]
    axes.barh(places, [row.guidelines for row in column], color=PALE[kind], height=0.74)
    axes.barh(places, complete, color=STRONG[kind], height=0.74)
    for place, row in enumerate(column):
        axes.text(row.guidelines + 0.008 * reach, place, f"{row.guidelines}", va="center", color=INK, fontsize=8.5)
    label_bars(axes, [row.category or "(no category)" for row in column])
    axes.set_xlim(0, reach)
    axes.set_ylim(len(column) - 0.5, -0.5)
    axes.xaxis.set_visible(False)


def _column_title(stats: LibraryStats, kind: str, shown: int) -> str:
    categories = sum(row.kind == kind for row in stats.categories)
    cut = f", the largest {shown} shown" if categories > shown else ""
    return f"{kind}: {stats.kinds[kind]:,} guidelines in {categories} categories{cut}"


def _panels(figure: Figure, stats: LibraryStats, left: float, top: float, width: float) -> None:
    """Words a text, examples a guideline, scripts."""
    each = width / 3
    panels = [
        _axes(figure, (left + number * each + labels, top - _PANEL_HEIGHT, each - labels - 0.2, _PANEL_HEIGHT))
        for number, labels in enumerate((0.4, 0.4, 0.75))
    ]
    _counts(panels[0], "words a text", stats.words_per_text)
    _counts(panels[1], "examples a guideline", stats.examples_per_guideline)
    _other_scripts(panels[2], stats.scripts.scripts)


def _counts(axes: Axes, heading: str, counts: Mapping[int, int]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.bar(list(counts), list(counts.values()), color=QUIET, width=0.9)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlim(min(counts) - 1.5, max(counts) + 1.5)
    title(axes, heading)
    grid(axes, "y")


def _other_scripts(axes: Axes, scripts: Mapping[str, int]) -> None:
    others = [(name, count) for name, count in scripts.items() if name not in ("Latin", "none")][:8]
    axes.barh(range(len(others)), [count for _, count in others], color=QUIET, height=0.7)
    for place, (_, count) in enumerate(others):
        axes.text(count, place, f" {count}", va="center", color=INK, fontsize=8.5)
    label_bars(axes, [name for name, _ in others])
    axes.set_ylim(7.5, -0.5)
    axes.set_xlim(0, max([1, *(count for _, count in others)]) * 1.2)
    axes.xaxis.set_visible(False)
    title(axes, "examples not in Latin")
    bare(axes)


def _heading(figure: Figure, stats: LibraryStats, height: float) -> None:
    held_out = "" if stats.held_out is None else f" · {sum(stats.held_out.inputs.values()):,} held-out inputs"
    heading = f"{stats.guidelines:,} guidelines · {stats.examples:,} examples{held_out}"
    _text(figure, _MARGIN, height - 0.4, heading, INK, 15)
    if stats.held_out is not None:
        pale = "pale end of a bar: guidelines without a held-out input in dev or in test"
        _text(figure, _MARGIN, 0.25, pale, QUIET, 9, weight="normal")


def _text(
    figure: Figure, left: float, bottom: float, text: str, colour: str, size: float, *, weight: str = "bold"
) -> None:
    width, height = figure.get_size_inches()
    figure.text(left / width, bottom / height, text, color=colour, fontsize=size, fontweight=weight, va="center")

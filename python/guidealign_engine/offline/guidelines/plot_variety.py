"""The picture of how much the texts of a library differ from each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from guidealign_engine.offline.guidelines.plots import (
    ALARM,
    INK,
    QUIET,
    STRONG,
    grid,
    label_bars,
    new_figure,
    title,
    write_figure,
)
from guidealign_engine.offline.guidelines.text_pool import TextPool
from guidealign_engine.offline.guidelines.variety import Variety

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_LENGTH_BARS = 40
_OPENINGS = 10


def plot_variety(variety: Variety, file: Path) -> None:
    """Nearest neighbours, lengths and openings: of texts in the upper row, of inputs in the lower one."""
    figure = new_figure(14.0, 7.6)
    figure.set_layout_engine("constrained", h_pad=0.12, w_pad=0.12, rect=(0.0, 0.0, 1.0, 0.93))
    pools = (("texts", variety.texts), ("inputs", variety.inputs))
    for row, ((name, pool), colour) in enumerate(zip(pools, STRONG.values(), strict=True)):
        nearest, lengths, openings = (figure.add_subplot(2, 3, 3 * row + place) for place in (1, 2, 3))
        _nearest(nearest, name, pool, variety.max_ratio, colour)
        _lengths(lengths, name, pool, colour)
        _openings(openings, name, pool, colour)
    heading = f"How much {variety.texts.count:,} texts and {variety.inputs.count:,} inputs differ from each other"
    figure.text(0.015, 0.955, heading, color=INK, fontsize=15, fontweight="bold", va="center")
    write_figure(figure, file)


def _nearest(axes: Axes, name: str, pool: TextPool, max_ratio: float, colour: str) -> None:
    axes.hist(pool.ratios, bins=[step / 50 for step in range(51)], color=colour)
    axes.axvline(max_ratio, color=ALARM, linewidth=1.2)
    axes.text(max_ratio + 0.015, 0.93, f"{max_ratio:g}", transform=axes.get_xaxis_transform(), color=ALARM)
    title(axes, f"{name}: likeness to the nearest other")
    axes.set_xlabel(f"Indel ratio: median {pool.nearest.median:.2f}, highest {pool.nearest.highest:.2f}", color=QUIET)
    axes.set_xlim(0, 1)
    grid(axes, "y")


def _lengths(axes: Axes, name: str, pool: TextPool, colour: str) -> None:
    longest = int(pool.word_counts.max(initial=1))
    step = -(-longest // _MOST_LENGTH_BARS)
    axes.hist(pool.word_counts, bins=list(range(0, longest + 2 * step, step)), color=colour)
    title(axes, f"{name}: words")
    axes.set_xlabel(f"mean {pool.words.mean:g}, from {pool.words.lowest:g} to {pool.words.highest:g}", color=QUIET)
    grid(axes, "y")


def _openings(axes: Axes, name: str, pool: TextPool, colour: str) -> None:
    openings = list(pool.first_two_words.commonest.items())
    shares = [100 * count / pool.count for _, count in openings]
    axes.barh(range(len(openings)), shares, color=colour, height=0.7)
    label_bars(axes, [f"{opening} …" for opening, _ in openings])
    axes.set_ylim(_OPENINGS - 0.4, -0.6)
    axes.set_xlim(0, max([5.0, *shares]) * 1.05)
    title(axes, f"{name}: commonest first two words")
    axes.set_xlabel(f"% of all {name}", color=QUIET)
    grid(axes, "x")

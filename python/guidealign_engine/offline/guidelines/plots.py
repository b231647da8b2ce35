"""How our pictures look, and how they are written. What they show is in `plot_library.py` and `plot_variety.py`."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from guidealign_engine.config import Kind
from guidealign_engine.errors import ConfigError
from guidealign_engine.optional_packages import import_optional

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".pdf", ".png", ".svg")

INK, QUIET, ALARM = "#1f2933", "#7b8794", "#c0392b"
STRONG = {str(Kind.SAFETY): "#1d6a96", str(Kind.QUALITY): "#b3701a"}
PALE = {str(Kind.SAFETY): "#bcd9e8", str(Kind.QUALITY): "#f0d6b0"}

_GRID = "#e4e7eb"
_LONGEST_LABEL = 36
_DOTS_PER_INCH = 150


def check_plot_file(file: Path) -> None:
    """Raises ConfigError or MissingDependencyError for a picture that cannot be written, before any work is done."""
    if file.suffix.lower() not in FORMATS:
        raise ConfigError(f"--plot is {str(file)!r}; its name must end in one of {', '.join(FORMATS)}")
    if not file.parent.is_dir():
        raise ConfigError(f"--plot is {str(file)!r}; there is no folder {str(file.parent)!r}, make it first")
    import_optional("matplotlib", package="matplotlib", extra="offline", purpose="drawing a plot")


def new_figure(width: float, height: float) -> Figure:
    """A white figure, in inches, that belongs to no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor="white")


def title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", color=INK, fontsize=10.5, fontweight="bold")


def label_bars(axes: Axes, labels: Sequence[str]) -> None:
    """Names horizontal bars, from the upper one down; long names are cut."""
    short = [label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…" for label in labels]
    # A dollar sign in a name starts no formula.
    axes.set_yticks(range(len(labels)), short, parse_math=False)
    bare(axes)


def grid(axes: Axes, axis: Literal["x", "y"]) -> None:
    axes.grid(axis=axis, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    bare(axes)


def bare(axes: Axes) -> None:
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, colors=INK, labelsize=8.5)


def write_figure(figure: Figure, file: Path) -> None:
    """Puts the whole picture in its place, or leaves there what was there."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        # A script that the font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.* missing from")
        figure.savefig(content, format=file.suffix.lower().removeprefix("."), dpi=_DOTS_PER_INCH)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as opened:
            opened.write(content.getvalue())
            opened.flush()
            os.fsync(opened.fileno())
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)

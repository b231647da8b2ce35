"""Pictures of a result: cost against size, latency against recall."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

STAGES = ("query", "tokenize", "encode", "search", "rerank", "select", "assemble")
COST, RECALL = "cost_against_size.png", "latency_against_recall.png"


def draw(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes both pictures; the second only where a search had lists to choose from."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / COST]
    _cost(result).savefig(written[0], dpi=150)
    if any(library["widths"] for library in result["libraries"]):
        written.append(folder / RECALL)
        _recall(result).savefig(written[1], dpi=150)
    return written


def _cost(result: Mapping[str, Any]) -> Figure:
    """Median of one prompt by stage, over the number of vectors, both logarithmic."""
    found = {figure["name"]: figure["p50"] for figure in result["figures"]}
    libraries = sorted(result["libraries"], key=lambda library: library["vectors"])
    sizes = [library["vectors"] for library in libraries]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(sizes, [found[f"{each['size']}.one"] for each in libraries], "o-", color="black", label="one prompt")
    for stage in STAGES:
        axes.plot(sizes, [found[f"{each['size']}.stage_{stage}"] for each in libraries], "o-", label=stage)
    axes.set(xscale="log", yscale="log", xlabel="stored vectors", ylabel="median, µs", title="Cost against size")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncols=2)
    return figure


def _recall(result: Mapping[str, Any]) -> Figure:
    """Median of one prompt over recall@6 of its final guidelines, a line a library, a point an nprobe."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for library in result["libraries"]:
        points = library["widths"]
        if points:
            line = axes.plot([each["recall"] for each in points], [each["p50_us"] for each in points], "o-")
            line[0].set_label(library["size"])
        for point in points:
            axes.annotate(str(point["nprobe"]), (point["recall"], point["p50_us"]), fontsize=7)
    axes.set(xlabel="recall@6 of guidelines against exact search", ylabel="median of one prompt, µs")
    axes.set_title("Latency against recall, by nprobe")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure

"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from guidealign_engine.config import Kind

_READING = "Reading"
_FINDING = "Finding"
_RUNNING = "Running"

Prompts = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PROMPT", help="Prompts. Without any, lines of --file or of standard input.", show_default=False
    ),
]
File = Annotated[
    str | None,
    typer.Option(
        "--file",
        "-f",
        metavar="F|-",
        help="Lines of text or of JSON: a string, a list of messages, or an object with prompt, text or messages.",
        rich_help_panel=_READING,
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(
        "--batch-size", min=1, max=65536, help="Prompts that are read before any is answered.", rich_help_panel=_READING
    ),
]
BundleFolder = Annotated[
    Path | None,
    typer.Option(
        "--bundle",
        "-b",
        metavar="DIR",
        help="Bundle to search in; without it, the starter bundle.",
        rich_help_panel=_FINDING,
    ),
]
K = Annotated[int, typer.Option("--k", "-k", help="At most so many guidelines a prompt.", rich_help_panel=_FINDING)]
MinScore = Annotated[
    float | None,
    typer.Option(
        "--min-score",
        metavar="X",
        help="From which score a guideline is shown; without it, the bundle's thresholds; -1 always gives k.",
        rich_help_panel=_FINDING,
    ),
]
DuplicateRatio = Annotated[
    float | None,
    typer.Option(
        "--duplicate-ratio",
        metavar="X",
        help="How alike two texts must be for the later one to be left out. 0.5 without it.",
        rich_help_panel=_FINDING,
    ),
]
KeepDuplicates = Annotated[
    bool, typer.Option("--keep-duplicates", help="Leave none out for being alike.", rich_help_panel=_FINDING)
]
Kinds = Annotated[
    list[Kind] | None,
    typer.Option("--kind", help="Only guidelines of this kind; may be repeated.", rich_help_panel=_FINDING),
]
Tags = Annotated[
    list[str] | None,
    typer.Option(
        "--tag", metavar="T", help="Only guidelines with this tag, or another that is given.", rich_help_panel=_FINDING
    ),
]
Diversity = Annotated[
    float,
    typer.Option(
        "--diversity",
        metavar="X",
        help="From 0, by score alone, to 1, by distance from the others.",
        rich_help_panel=_FINDING,
    ),
]
Threads = Annotated[int, typer.Option("--threads", help="Parts that a batch is split into.", rich_help_panel=_RUNNING)]
Device = Annotated[str, typer.Option("--device", help="Where the encoder runs.", rich_help_panel=_RUNNING)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of tables for people.")]


def finding_options(
    *,
    k: int,
    min_score: float | None,
    duplicate_ratio: float | None,
    keep_duplicates: bool,
    kinds: list[Kind] | None,
    tags: list[str] | None,
    diversity: float,
) -> dict[str, Any]:
    """The options of `Engine.retrieve_batch`. Raises BadParameter when two of them contradict each other."""
    if keep_duplicates and duplicate_ratio is not None:
        raise typer.BadParameter("give either --duplicate-ratio or --keep-duplicates")
    ratio = 0.5 if duplicate_ratio is None else duplicate_ratio
    return {
        "k": k,
        "min_score": min_score,
        "duplicate_ratio": None if keep_duplicates else ratio,
        "kinds": kinds or None,
        "tags": tags or None,
        "diversity": diversity,
    }

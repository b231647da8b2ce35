"""Options that the training commands share, and what they need installed."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from guidealign_engine.errors import MissingDependencyError

_NEEDED = {"torch": "torch", "sentence_transformers": "sentence-transformers", "onnx": "onnx"}
EXPORTER = {"optimum": "optimum-onnx"}
"""What else a transformer needs, by module."""


class GraphPrecision(StrEnum):
    """As in offline.export.precision, which needs onnx."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"


Texts = Annotated[
    list[Path],
    typer.Option("--texts", metavar="PATH", help="JSON lines with a text field, or folders; may be repeated."),
]
Pairs = Annotated[
    list[Path] | None,
    typer.Option("--pairs", metavar="FILE_OR_DIR", help="Pairs whose train split is trained on; may be repeated."),
]
Harmless = Annotated[
    list[Path] | None,
    typer.Option("--harmless", metavar="PATH", help="Texts that need no safety guideline; may be repeated."),
]
Passages = Annotated[
    list[Path] | None,
    typer.Option(
        "--passages",
        metavar="PATH",
        help="Texts that ask for nothing, such as documentation and articles: with some, a student learns to find the "
        "request in a long prompt; may be repeated.",
    ),
]
Bigrams = Annotated[
    int, typer.Option("--bigrams", min=0, help="Pairs of tokens, at most, that a static student learns a vector for.")
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda|cuda:N",
        help="Where it trains; auto takes a GPU where there is one. One that was asked for and is missing is an error.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Decides all that is random in training.")]


def check_packages(purpose: str, also: Mapping[str, str] | None = None) -> None:
    """Raises MissingDependencyError for a package of the offline extra that is not installed."""
    for module, package in (_NEEDED | dict(also or {})).items():
        if find_spec(module) is None:
            raise MissingDependencyError(f"{purpose} needs {module}", package=package, extra="offline")

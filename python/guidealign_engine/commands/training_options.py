"""Options that the training commands share, and what they need installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from guidealign_engine.errors import MissingDependencyError

_NEEDED = {"torch": "torch", "sentence_transformers": "sentence-transformers", "onnx": "onnx"}
EXPORTER = {"optimum": "optimum-onnx"}
"""What else a transformer needs, by module."""

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
Seed = Annotated[int, typer.Option("--seed", min=0, help="Decides all that is random in training.")]


def check_packages(purpose: str, also: Mapping[str, str] | None = None) -> None:
    """Raises MissingDependencyError for a package of the offline extra that is not installed."""
    for module, package in (_NEEDED | dict(also or {})).items():
        if find_spec(module) is None:
            raise MissingDependencyError(f"{purpose} needs {module}", package=package, extra="offline")

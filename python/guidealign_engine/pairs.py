"""Pair files: JSON lines of inputs and the guidelines that fit them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from guidealign_engine.errors import ArtifactError

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True, slots=True)
class Pair:
    """An input and the ids of the guidelines that fit it; none for an input that needs no guideline."""

    input: str
    positive: tuple[str, ...]
    split: str


def read_pairs(paths: Iterable[Path], *, split: str) -> list[Pair]:
    """The pairs of one split. Raises ArtifactError naming file, line and field."""
    pairs = []
    for path in paths:
        for file in sorted(path.glob("*.jsonl")) if path.is_dir() else [path]:
            try:
                lines = file.read_text(encoding="utf-8").splitlines()
            except OSError as error:
                raise ArtifactError(f"the file cannot be read: {error.strerror}", file=file) from error
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    pairs.append(_pair(line, file, number))
    return [pair for pair in pairs if pair.split == split]


def _pair(line: str, file: Path, number: int) -> Pair:
    try:
        fields = json.loads(line)
        pair = Pair(fields["input"], tuple(fields["positive"]), fields.get("split", "train"))
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"line {number} is no pair with input and positive: {error!r}", file=file) from error
    if pair.split not in SPLITS:
        raise ArtifactError(f"line {number}: {pair.split!r}; allowed: {', '.join(SPLITS)}", file=file, field="split")
    return pair

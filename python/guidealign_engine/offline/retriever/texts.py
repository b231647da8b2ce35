"""Unlabelled training texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from guidealign_engine.errors import ArtifactError


def read_texts(paths: Iterable[Path]) -> Iterator[str]:
    """The `text` of every record in JSON-lines files, or in all `*.jsonl` of a folder, in the order of their names."""
    for path in paths:
        files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        if not files:
            raise ArtifactError("the folder holds no *.jsonl file", file=path)
        for file in files:
            yield from _texts_of(file)


def _texts_of(file: Path) -> Iterator[str]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield json.loads(line)["text"]
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise ArtifactError(f"line {number} is no JSON object with a text", file=file, field="text") from error


def sample_texts(texts: Iterable[str], limit: int, seed: int) -> list[str]:
    """At most `limit` of the distinct texts, drawn without replacement, in a random order that `seed` decides."""
    distinct = list(dict.fromkeys(texts))
    order = np.random.default_rng(seed).permutation(len(distinct))
    return [distinct[index] for index in order[:limit]]

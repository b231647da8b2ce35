"""Queries to tune an index on: held-out inputs, or texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from guidealign_engine.errors import ArtifactError
from guidealign_engine.held_out_pairs import read_dev_pairs
from guidealign_engine.json_lines import read_objects

QUERIES = 1_000
_SEED = 1


def read_queries(paths: Sequence[Path], *, limit: int = QUERIES) -> list[str]:
    """Dev inputs of files of pairs and the texts of files of texts, at most `limit` distinct ones.

    Which ones a fixed seed decides.
    A file whose first object has an `input` holds pairs, one whose first object has a `text` holds texts; of a folder,
    all `*.jsonl`. Raises ArtifactError naming file and line of what is neither, ConfigError for pairs without a dev
    split, or with one that shares inputs with the test split.
    """
    files = [file for path in paths for file in (sorted(path.glob("*.jsonl")) if path.is_dir() else [path])]
    if not files:
        raise ArtifactError("the folder holds no *.jsonl file", file=", ".join(map(str, paths)))
    pairs = [file for file in files if _holds_pairs(file)]
    texts = [text for file in files if file not in pairs for text in _texts(file)]
    if pairs:
        texts += [pair.input for pair in read_dev_pairs(pairs)]
    distinct = list(dict.fromkeys(texts))
    order = np.random.default_rng(_SEED).permutation(len(distinct))[:limit]
    return [distinct[place] for place in sorted(order)]


def _holds_pairs(file: Path) -> bool:
    for number, fields in read_objects(file):
        if "input" in fields or "text" in fields:
            return "input" in fields
        raise ArtifactError(f"line {number}: an object with neither input, as pairs have, nor text", file=file)
    return False


def _texts(file: Path) -> list[str]:
    texts = []
    for number, fields in read_objects(file):
        text = fields.get("text")
        if not isinstance(text, str):
            raise ArtifactError(f"line {number}: {text!r:.60}; must be a string", file=file, field="text")
        texts.append(text)
    return texts

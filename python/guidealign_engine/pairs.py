"""Pair files: JSON lines of inputs and the guidelines that fit them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guidealign_engine.json_lines import read_objects, wrong_field

SPLITS = ("train", "dev", "test")
GRADES = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Pair:
    """An input and the ids of the guidelines that fit it; none for an input that needs no guideline."""

    input: str
    positive: tuple[str, ...]
    split: str
    grades: tuple[int, ...] = ()
    """How well each of them fits, from 1, worth having, to 3, made for it; empty where the file gives no grades."""


def read_pairs(paths: Iterable[Path], *, split: str | None = None) -> list[Pair]:
    """The pairs of one split, or of all, from files or from all `*.jsonl` of folders.

    Raises ArtifactError naming file, line and field of the first record that is no pair.
    """
    files = (file for path in paths for file in (sorted(path.glob("*.jsonl")) if path.is_dir() else [path]))
    pairs = [_pair(fields, file, number) for file in files for number, fields in read_objects(file)]
    return [pair for pair in pairs if split in (None, pair.split)]


def _pair(fields: dict[str, Any], file: Path, number: int) -> Pair:
    text, positive, split = fields.get("input"), fields.get("positive"), fields.get("split", SPLITS[0])
    if not isinstance(text, str) or not text.strip():
        raise wrong_field(fields, "input", "a string that is not blank", file=file, number=number)
    if not isinstance(positive, (list, dict)) or not all(isinstance(id, str) for id in positive):
        rule = "a list of guideline ids, empty for an input that needs none, or an object of ids and grades"
        raise wrong_field(fields, "positive", rule, file=file, number=number)
    grades = tuple(positive.values()) if isinstance(positive, dict) else ()
    if any(type(grade) is not int or grade not in GRADES for grade in grades):
        raise wrong_field(fields, "positive", "an object with grades from 1 to 3", file=file, number=number)
    if split not in SPLITS:
        raise wrong_field(fields, "split", f"one of {', '.join(SPLITS)}", file=file, number=number)
    return Pair(text, tuple(positive), split, grades)


def train_inputs(pairs: Iterable[Pair]) -> dict[str, list[str]]:
    """Inputs of the train split by the id of each guideline that fits them."""
    inputs: dict[str, list[str]] = {}
    for pair in pairs:
        for id in pair.positive if pair.split == "train" else ():
            inputs.setdefault(id, []).append(pair.input)
    return inputs

"""Few-shot exemplars, written for this project: 13 for detection, 12 for risky inputs, 7 for ordinary ones.

Their numbers are those of Guide-Align (arXiv 2403.11838, section 3); their texts, in exemplars.jsonl, are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from guidealign_engine.json_lines import read_objects

_FILE = Path(__file__).with_name("exemplars.jsonl")


@dataclass(frozen=True, slots=True)
class DetectionExemplar:
    input: str
    reason: str
    unsafe: bool


@dataclass(frozen=True, slots=True)
class WritingExemplar:
    input: str
    guidelines: tuple[tuple[str, str], ...]
    """title and text of each"""


@dataclass(frozen=True, slots=True)
class Exemplars:
    detection: tuple[DetectionExemplar, ...]
    risky: tuple[WritingExemplar, ...]
    ordinary: tuple[WritingExemplar, ...]


@cache
def load_exemplars() -> Exemplars:
    """All of them, in the order of the file."""
    rows = [fields for _, fields in read_objects(_FILE)]

    def written(use: str) -> tuple[WritingExemplar, ...]:
        return tuple(
            WritingExemplar(row["input"], tuple((each["title"], each["text"]) for each in row["guidelines"]))
            for row in rows
            if row["use"] == use
        )

    detection = tuple(
        DetectionExemplar(row["input"], row["reason"], row["unsafe"]) for row in rows if row["use"] == "detection"
    )
    return Exemplars(detection, written("risky"), written("ordinary"))

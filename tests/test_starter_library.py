"""The starter library: what it promises, and that the bundle in the package was made of it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from guidealign_engine.guideline_files import read_guidelines
from guidealign_engine.loading import STARTER_BUNDLE
from guidealign_engine.pairs import read_pairs

LIBRARY = Path(__file__).parents[1] / "library"
STANCES = {"decline", "care", "help"}


def test_the_bundle_holds_the_library() -> None:
    assert read_guidelines([STARTER_BUNDLE / "guidelines.jsonl"]) == read_guidelines([LIBRARY / "guidelines"])


def test_every_guideline_has_examples_and_held_out_inputs() -> None:
    records = read_guidelines([LIBRARY / "guidelines"])
    pairs = read_pairs([LIBRARY / "pairs"])
    assert len(records) >= 1000
    assert sum(len(record.examples) for record in records) >= 6000
    assert [record.id for record in records if len(record.examples) < 6] == []
    held_out = Counter((id, pair.split) for pair in pairs if not pair.grades for id in pair.positive)
    lacking = [(record.id, split) for record in records for split in ("dev", "test") if not held_out[record.id, split]]
    assert lacking == []
    ids = {record.id for record in records}
    assert {id for pair in pairs for id in pair.positive} <= ids


def test_every_safety_guideline_has_one_stance() -> None:
    for record in read_guidelines([LIBRARY / "guidelines"]):
        assert len(STANCES & set(record.tags)) == (record.kind == "safety"), record.id


def test_there_are_graded_and_harmless_inputs() -> None:
    assert sum(bool(pair.grades) for pair in read_pairs([LIBRARY / "pairs"])) >= 500
    lines = (LIBRARY / "pairs" / "harmless.jsonl").read_text(encoding="utf-8").splitlines()
    harmless = [json.loads(line) for line in lines]
    assert len(harmless) >= 300
    assert sum(each.get("scary", False) for each in harmless) >= len(harmless) / 3
    assert all(each["positive"] == [] for each in harmless)


def test_no_held_out_input_is_an_example() -> None:
    examples = {
        " ".join(text.split()).lower() for each in read_guidelines([LIBRARY / "guidelines"]) for text in each.examples
    }
    assert [
        pair.input for pair in read_pairs([LIBRARY / "pairs"]) if " ".join(pair.input.split()).lower() in examples
    ] == []


def test_the_coverage_map_names_guidelines_that_exist() -> None:
    ids = {record.id for record in read_guidelines([LIBRARY / "guidelines"])}
    rows = [json.loads(line) for line in (LIBRARY / "coverage.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {id for row in rows for id in row["guidelines"]} <= ids
    covered = Counter(row["taxonomy"] for row in rows if row["guidelines"])
    risks = Counter(row["taxonomy"] for row in rows)
    assert covered["ailuminate"] == risks["ailuminate"] == 12
    assert covered["do-not-answer"] == risks["do-not-answer"]
    assert covered["air-2024"] / risks["air-2024"] >= 2 / 3

"""`guidealign library stats --coverage`: which risks of a taxonomy have a guideline, by a map that people wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from guidealign_engine.commands import app

IDS = ["locks", "wifi", "knives", "mail"]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return write_lines(
        tmp_path / "library.jsonl", [{"id": id, "kind": "safety", "title": "t", "text": "t"} for id in IDS]
    )


def write_lines(file: Path, records: list[Any]) -> Path:
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return file


def stats(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["library", "stats", *map(str, arguments)])


MAP = [
    {"taxonomy": "air", "risk": "burglary", "title": "Burglary", "guidelines": ["locks", "wifi"]},
    {"taxonomy": "air", "risk": "fraud", "title": "Fraud", "guidelines": []},
    {"taxonomy": "air", "risk": "knives", "title": "Knives", "guidelines": ["knives"]},
    {"taxonomy": "own", "risk": "fraud", "title": "Fraud too", "guidelines": []},
]


def test_coverage_is_a_share_of_each_taxonomy(library: Path, tmp_path: Path) -> None:
    coverage = write_lines(tmp_path / "map.jsonl", MAP)
    assert json.loads(stats(library, "--coverage", coverage, "--json").stdout)["coverage"] == {
        "air": {
            "risks": 3,
            "covered": 2,
            "share": 0.6667,
            "uncovered": [{"risk": "fraud", "title": "Fraud"}],
        },
        "own": {"risks": 1, "covered": 0, "share": 0.0, "uncovered": [{"risk": "fraud", "title": "Fraud too"}]},
    }
    lines = [" ".join(line.split()) for line in stats(library, "--coverage", coverage).stdout.splitlines()]
    assert "air 3 2 66.7 %" in lines
    assert lines[lines.index("not covered of own") + 2] == "fraud Fraud too"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            {**MAP[0], "guidelines": ["locks", "wify"]},
            ", field guidelines: line 2: no guideline has the id 'wify' (did you mean 'wifi'?)",
        ),
        ({**MAP[0], "guidelines": "locks"}, ", field guidelines: line 2: 'locks'; must be a list of guideline ids"),
        ({"taxonomy": "air", "risk": "a", "title": "b"}, ", field guidelines: line 2: missing; must be a list"),
        ({**MAP[0], "risk": ""}, ", field risk: line 2: ''; must be a string that is not blank"),
        ({"risk": "a", "title": "b"}, ", field taxonomy: line 2: missing; must be a string"),
        (MAP[2], ", field risk: line 2: 'knives' of 'air' was given before, in line 1"),
        (["a"], ": line 2: a list; each line must be a JSON object"),
    ],
)
def test_a_wrong_map_names_its_line(library: Path, tmp_path: Path, line: Any, message: str) -> None:
    coverage = write_lines(tmp_path / "map.jsonl", [MAP[2], line])
    result = stats(library, "--coverage", coverage)
    assert result.exit_code == 1
    assert f"error: {coverage}{message}" in result.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "there are no risks in it"),
        (b'{"taxonomy": ', "line 1: not JSON: Expecting value"),
        ("{}\n".encode("utf-16"), "the file is not UTF-8 (invalid start byte at byte 0)"),
    ],
)
def test_a_map_that_is_none_is_an_error(library: Path, tmp_path: Path, content: bytes, message: str) -> None:
    coverage = tmp_path / "map.jsonl"
    coverage.write_bytes(content)
    assert f"error: {coverage}: {message}" in stats(library, "--coverage", coverage).stderr
    missing = tmp_path / "nowhere.jsonl"
    assert f"{missing}: the file cannot be read: No such" in stats(library, "--coverage", missing).stderr

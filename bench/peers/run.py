"""Every row in turn, round after round; a row that fails or cannot be run keeps its place and says why."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure import Figure, Summary, rate_summary, summary
from bench.peers.checks import quality
from bench.peers.environments import NotRunError, python_for
from bench.peers.material import BATCH, Material
from bench.peers.process import Calls, PeerError, build, measure
from bench.peers.registry import Row
from bench.peers.task import Task

NOT_RUN = "not run"
FAILED = "error"
MEASURED = "measured"

# Name of a figure to its unit.
UNITS = {
    "single": "us",
    "batch_64": "prompts/s",
    "load": "us",
    "resident": "bytes",
    "recall": "share",
    "quality": "share",
}


@dataclass
class Outcome:
    """What is known of a row."""

    row: Row
    status: str = MEASURED
    reason: str = ""
    """Of a row that was not run or ended with an error."""
    rounds: list[dict[str, Summary]] = field(default_factory=list)
    fixed: dict[str, float] = field(default_factory=dict)
    """Recall and quality: shares, which no round changes."""

    def end(self, status: str, reason: str) -> None:
        self.status, self.reason = status, reason
        self.rounds.clear()
        self.fixed.clear()
        print(f"{self.row.name}: {status}: {reason}", file=sys.stderr)

    @property
    def figures(self) -> dict[str, Figure]:
        timed = {name: Figure([each[name] for each in self.rounds]) for name in (self.rounds[0] if self.rounds else ())}
        return {**timed, **{name: Figure([Summary(value, value, None)]) for name, value in self.fixed.items()}}


@dataclass(frozen=True, slots=True)
class _Ready:
    outcome: Outcome
    python: str
    task: Task


def run_rows(rows: Sequence[Row], material: Material, *, cache: Path, rounds: int, budget_s: float) -> list[Outcome]:
    """One process a row and round; only one runs at a time."""
    outcomes = [Outcome(row) for row in rows]
    ready = [prepared for outcome in outcomes if (prepared := _prepare(outcome, material, cache)) is not None]
    for number in range(rounds):
        for each in ready:
            if each.outcome.status == MEASURED:
                print(f"round {number + 1} of {rounds}: {each.outcome.row.name}", file=sys.stderr)
                _measure(each, material, budget_s=budget_s, first=number == 0)
    return outcomes


def _prepare(outcome: Outcome, material: Material, cache: Path) -> _Ready | None:
    try:
        python = python_for(outcome.row.peer, cache)
        task = material.task(outcome.row)
        build(python, outcome.row, task)
    except NotRunError as error:
        outcome.end(NOT_RUN, str(error))
    except PeerError as error:
        outcome.end(FAILED, f"while building: {error}")
    else:
        return _Ready(outcome, python, task)
    return None


def _measure(ready: _Ready, material: Material, *, budget_s: float, first: bool) -> None:
    outcome = ready.outcome
    inputs = material.inputs if first and outcome.row.encoder != "bert-base" else []
    asked = [inputs[start : start + BATCH] for start in range(0, len(inputs), BATCH)]
    try:
        found = measure(
            ready.python, outcome.row, ready.task, Calls(material.prompts, material.batches, asked, budget_s)
        )
        recall = _checked(outcome.row, material, found)
    except PeerError as error:
        outcome.end(FAILED, str(error))
        return
    outcome.rounds.append(_summaries(found))
    if first:
        outcome.fixed["recall"] = recall
    if inputs:
        outcome.fixed["quality"] = quality(found["quality"], material.relevant)


def _checked(row: Row, material: Material, found: Mapping[str, Any]) -> float:
    """Recall of single prompts. Raises PeerError when one of all answers, single or in batches, is none."""
    reference = material.reference(row)
    singles = [[prompt] for prompt in material.prompts]
    recall = reference.checked_recall(singles, found["single"]["answers"])
    reference.checked_recall(material.batches, found["batch"]["answers"])
    return recall


def _summaries(found: Mapping[str, Any]) -> dict[str, Summary]:
    return {
        "single": summary(np.array(found["single"]["durations_us"])),
        "batch_64": rate_summary(np.array(found["batch"]["durations_us"]), BATCH),
        "load": _single(found["load_us"]),
        "resident": _single(found["resident_bytes"]),
    }


def _single(value: float) -> Summary:
    return Summary(value, value, None)

"""Where steps stand before a run: which are finished, and why the others will be done."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from guidealign_engine.offline.retriever.steps import STEP_RECORD, Step, digest_of, files_in


class State(StrEnum):
    """Where a step stands before a run."""

    NEW = "new"
    BEGUN = "begun"
    FINISHED = "finished"
    CHANGED = "changed"
    OUTDATED = "outdated"
    """Finished, but a step that it reads from is about to run."""
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Standing:
    state: State
    changed: tuple[str, ...] = ()
    """Names of the inputs that are others than those of the record; of an outdated step, the step that will run."""
    record: Mapping[str, Any] | None = None


def standings_of(work: Path, steps: Sequence[Step]) -> list[Standing]:
    """Where each step stands; none after one that will run counts as finished."""
    standings = list[Standing]()
    cause_of = dict[str, str]()
    """A step that will run → the first one that makes it"""
    for step in steps:
        standing = _standing_of(work / step.name, step)
        cause = next((cause_of[name] for name in step.after if name in cause_of), None)
        if cause is not None and standing.state in (State.FINISHED, State.BEGUN):
            standing = Standing(State.OUTDATED, (cause,))
        if standing.state is not State.FINISHED:
            cause_of[step.name] = cause or step.name
        standings.append(standing)
    return standings


def later_steps(step: Step, steps: Sequence[Step]) -> list[Step]:
    """All that read from the step's files, or from those of one that does."""
    names, later = {step.name}, list[Step]()
    for each in steps:
        if names.intersection(each.after):
            names.add(each.name)
            later.append(each)
    return later


def explained(step: Step, standing: Standing) -> str:
    """What will happen to a step, and why."""
    if standing.state is State.CHANGED:
        return f"runs anew, since {', '.join(standing.changed)} changed"
    if standing.state is State.OUTDATED:
        return f"runs anew, after {', '.join(standing.changed)}"
    return {
        State.NEW: "runs",
        State.BEGUN: "goes on where it was" if step.goes_on else "was not finished, so it runs again",
        State.FINISHED: "finished before, and kept",
        State.DAMAGED: "runs anew, since its files are not those that it wrote",
    }[standing.state]


def _standing_of(folder: Path, step: Step) -> Standing:
    """Compares the step's inputs and files with the record of the last time."""
    try:
        record = json.loads((folder / STEP_RECORD).read_bytes())
        before, finished = dict(record["inputs"]), bool(record["finished"])
    except FileNotFoundError:
        return Standing(State.NEW)
    except (ValueError, KeyError, TypeError):
        return Standing(State.DAMAGED)
    if digest_of(before) != step.fingerprint:
        names = sorted({*before, *step.inputs})
        return Standing(
            State.CHANGED,
            tuple(name for name in names if digest_of(before.get(name)) != digest_of(step.inputs.get(name))),
        )
    if not finished:
        return Standing(State.BEGUN)
    if record.get("files") != files_in(folder):
        return Standing(State.DAMAGED)
    return Standing(State.FINISHED, record=record)

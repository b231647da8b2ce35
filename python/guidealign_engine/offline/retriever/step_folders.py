"""Steps that are done once: each has a folder, a record of what it was done with, and goes on after a kill."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from guidealign_engine.errors import ArtifactError
from guidealign_engine.offline.guidelines.whole_files import written_whole

STEP_RECORD = "step.json"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: what its result depends on, by name, and what does it."""

    name: str
    inputs: Mapping[str, Any]
    """Options as they are, digests of files, and fingerprints of the steps before; plain JSON."""
    run: Callable[[Path, Report], Mapping[str, Any]]
    """Writes files into the folder, and returns what is worth recording."""
    goes_on: bool = False
    """Whether it goes on from what a killed run left in the folder."""

    @property
    def fingerprint(self) -> str:
        return digest_of(self.inputs)


class State(StrEnum):
    """Where a step stands before a run."""

    NEW = "new"
    BEGUN = "begun"
    FINISHED = "finished"
    CHANGED = "changed"
    OUTDATED = "outdated"
    """Finished, but a step before it is about to run."""
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Standing:
    state: State
    changed: tuple[str, ...] = ()
    """Names of the inputs that are others than those of the record; of an outdated step, the step that will run."""
    record: Mapping[str, Any] | None = None


def digest_of(value: Any) -> str:
    """Of anything that JSON holds."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def folder_digest(folder: Path) -> str:
    """Of the names and contents of all files below."""
    return digest_of(_files_in(folder))


def standings_of(work: Path, steps: Sequence[Step]) -> list[Standing]:
    """Where each step stands; none after one that will run counts as finished."""
    standings = list[Standing]()
    first = None
    for step in steps:
        standing = _standing_of(work / step.name, step)
        if first is None and standing.state is not State.FINISHED:
            first = step.name
        elif first is not None and standing.state in (State.FINISHED, State.BEGUN):
            standing = Standing(State.OUTDATED, (first,))
        standings.append(standing)
    return standings


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
    if record.get("files") != _files_in(folder):
        return Standing(State.DAMAGED)
    return Standing(State.FINISHED, record=record)


def run_steps(work: Path, steps: Sequence[Step], report: Report) -> Iterator[tuple[Step, Mapping[str, Any]]]:
    """Each step with its record, as soon as it is done; one that was finished before with the same inputs is kept.

    Raises ArtifactError when there is no room for a step's files; run again, it goes on.
    """
    for place, (step, standing) in enumerate(zip(steps, standings_of(work, steps), strict=True)):
        report(f"{step.name}: {explained(step, standing)}")
        if standing.record is not None:
            yield step, {**standing.record, "kept": True}
            continue
        # What comes after is of no use any more, also to a later run if this one is killed.
        for later in steps[place + 1 :]:
            (work / later.name / STEP_RECORD).unlink(missing_ok=True)
        if not (standing.state is State.BEGUN and step.goes_on):
            shutil.rmtree(work / step.name, ignore_errors=True)
        record = _run(work / step.name, step, report)
        report(f"{step.name}: done in {record['seconds']:.0f} s")
        yield step, {**record, "kept": False}


def _run(folder: Path, step: Step, report: Report) -> dict[str, Any]:
    started = time.monotonic()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_record(folder, {"inputs": dict(step.inputs), "finished": False})
        result = step.run(folder, report)
        record = {
            "inputs": dict(step.inputs),
            "finished": True,
            "seconds": round(time.monotonic() - started, 2),
            "result": dict(result),
            "files": _files_in(folder),
        }
        _write_record(folder, record)
        return record
    except Exception as error:
        if not _is_room_lacking(error, folder.parent):
            raise
        free = shutil.disk_usage(folder.parent).free // 1_000_000
        raise ArtifactError(
            f"step {step.name} could not write its files ({error}); {free} MB are free; "
            "make room and give the same command again, it goes on from here",
            file=folder,
        ) from error


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


def _write_record(folder: Path, record: Mapping[str, Any]) -> None:
    with written_whole([folder / STEP_RECORD]) as (file,):
        file.write(json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def _files_in(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != STEP_RECORD)
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _is_room_lacking(error: Exception, work: Path) -> bool:
    """torch and safetensors raise classes of their own, in which only the words say it."""
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return True
    words = ("PytorchStreamWriter", "unexpected pos", "No space left", "File too large")
    return any(word in str(error) for word in words) or shutil.disk_usage(work).free < 1_000_000

"""Runs steps: each has a folder, a record of what it was done with, and goes on after a kill."""

from __future__ import annotations

import errno
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from guidealign_engine.errors import ArtifactError
from guidealign_engine.offline.guidelines.whole_files import written_whole
from guidealign_engine.offline.retriever.step_standings import State, explained, later_steps, standings_of
from guidealign_engine.offline.retriever.steps import STEP_RECORD, Report, Step, files_in

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run_steps(work: Path, steps: Sequence[Step], report: Report) -> Iterator[tuple[Step, Mapping[str, Any]]]:
    """Each step with its record, as soon as it is done; one that was finished before with the same inputs is kept.

    Raises ArtifactError when there is no room for a step's files; run again, it goes on.
    """
    for step, standing in zip(steps, standings_of(work, steps), strict=True):
        report(f"{step.name}: {explained(step, standing)}")
        if standing.record is not None:
            yield step, {**standing.record, "kept": True}
            continue
        # What comes after is of no use any more, also to a later run if this one is killed.
        for later in later_steps(step, steps):
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
            "files": files_in(folder),
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


def _write_record(folder: Path, record: Mapping[str, Any]) -> None:
    with written_whole([folder / STEP_RECORD]) as (file,):
        file.write(json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def _is_room_lacking(error: Exception, work: Path) -> bool:
    """torch and safetensors raise classes of their own, in which only the words say it."""
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return True
    words = ("PytorchStreamWriter", "unexpected pos", "No space left", "File too large")
    return any(word in str(error) for word in words) or shutil.disk_usage(work).free < 1_000_000

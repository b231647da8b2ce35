"""Runs the worker and reads what it measured."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.peers.registry import Row
from bench.peers.task import Task

_REPOSITORY = Path(__file__).parents[2]
_TIMEOUT_S = 1800
# One thread each, no hub, no telemetry.
_SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "TQDM_DISABLE": "1",
    "DO_NOT_TRACK": "1",
    "PYTHONWARNINGS": "ignore",
}


class PeerError(Exception):
    """A peer that failed or gave an answer that is none; the message is the reason, for the page."""


@dataclass(frozen=True, slots=True)
class Calls:
    """What a worker is to do with a loaded peer."""

    prompts: list[str]
    batches: list[list[str]]
    quality: list[list[str]]
    budget_s: float
    """For single calls, and again for batches."""


def build(python: str, row: Row, task: Task) -> None:
    """Leaves the files of a peer in its folder. Raises PeerError."""
    Path(task.folder).mkdir(parents=True, exist_ok=True)
    _run(python, {"step": "build", "adapter": row.peer.adapter, "task": task.record()})


def measure(python: str, row: Row, task: Task, calls: Calls) -> dict[str, Any]:
    """What a fresh process that loads the peer measured: see `worker.main`. Raises PeerError."""
    with TemporaryDirectory(prefix="guidealign-peers-") as folder:
        out = Path(folder) / "result.json"
        job = {"step": "measure", "adapter": row.peer.adapter, "task": task.record(), "out": str(out)}
        wanted = {name: getattr(calls, name) for name in ("prompts", "batches", "quality", "budget_s")}
        _run(python, {**job, **wanted})
        result: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return result


def _run(python: str, job: Mapping[str, Any]) -> None:
    paths = [str(_REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment = {**kept, **_SETTINGS, "PYTHONPATH": os.pathsep.join(paths)}
    with TemporaryDirectory(prefix="guidealign-peers-") as folder:
        file = Path(folder) / "job.json"
        file.write_text(json.dumps(job), encoding="utf-8")
        command = [python, "-m", "bench.peers.worker", str(file)]
        try:
            done = subprocess.run(
                command,
                cwd=_REPOSITORY,
                env=environment,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise PeerError(f"no result after {_TIMEOUT_S} s") from error
    if done.returncode:
        raise PeerError((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:300])

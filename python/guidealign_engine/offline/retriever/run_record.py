"""run.json: what was run, with what, for how long, and where."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from guidealign_engine.offline.guidelines.whole_files import written_whole

RUN_RECORD = "run.json"
_PACKAGES = (
    "guidealign-engine",
    "torch",
    "transformers",
    "sentence-transformers",
    "tokenizers",
    "onnx",
    "onnxruntime",
    "faiss-cpu",
    "numpy",
)


def write_run_record(
    out: Path, options: Mapping[str, Any], steps: Mapping[str, Mapping[str, Any]], *, finished: bool
) -> dict[str, Any]:
    """Writes `out`/run.json, whole or not at all, and returns it."""
    run = {
        "finished": finished,
        "options": dict(options),
        "steps": {
            name: {key: record[key] for key in ("kept", "seconds", "inputs", "result")}
            for name, record in steps.items()
        },
        "seconds": round(sum(record["seconds"] for record in steps.values()), 2),
        "versions": {"python": platform.python_version(), **_versions()},
        "machine": machine(),
    }
    with written_whole([out / RUN_RECORD]) as (file,):
        file.write(json.dumps(run, indent=2, ensure_ascii=False) + "\n")
    return run


def machine() -> dict[str, Any]:
    """Processor, cores and the device that torch finds."""
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "device": device(),
    }


def device() -> str:
    """The GPU's name where torch finds one."""
    return f"cuda: {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "cpu: torch finds no GPU"


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()

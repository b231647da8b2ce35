"""run.json: what was run, with what, for how long, and where."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guidealign_engine.offline.guidelines.whole_files import written_whole
from guidealign_engine.offline.machine import processor, versions

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
    out: Path, options: Mapping[str, Any], steps: Mapping[str, Mapping[str, Any]], *, device: str, finished: bool
) -> dict[str, Any]:
    """Writes `out`/run.json, whole or not at all, and returns it. device: what this run trains on."""
    run = {
        "finished": finished,
        "options": dict(options),
        "steps": {
            name: {key: record[key] for key in ("kept", "seconds", "inputs", "result")}
            for name, record in steps.items()
        },
        "seconds": round(sum(record["seconds"] for record in steps.values()), 2),
        "versions": {"python": platform.python_version(), **versions(_PACKAGES)},
        "machine": {**machine(), "device": device},
    }
    with written_whole([out / RUN_RECORD]) as (file,):
        file.write(json.dumps(run, indent=2, ensure_ascii=False) + "\n")
    return run


def machine() -> dict[str, Any]:
    """System, processor and cores."""
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
    }

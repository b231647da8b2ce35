"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from guidealign_engine import _native
from guidealign_engine.bundle import Manifest

_REPOSITORY = Path(__file__).parents[1]
_PACKAGES = ("guidealign-engine", "onnxruntime", "faiss-cpu", "tokenizers", "numpy")
# A run changes these itself.
_WRITTEN = (":!bench/results", ":!docs/performance.md")


def machine_record() -> dict[str, Any]:
    """Processor, cores, kernel, Python and packages."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "vector_kernel": _native.active_kernel(),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {package: version(package) for package in _PACKAGES},
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def machine_name(record: dict[str, Any]) -> str:
    """A file name, such as amd-epyc-2-cores."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"\((r|tm)\)|@.*", " ", record["processor"].lower()))
    return "-".join([*words, str(record["cores"]), "cores"])


def commit_record() -> dict[str, Any]:
    """The commit, and whether files were changed since."""
    commit = _output("git", "rev-parse", "HEAD") or "unknown"
    return {"commit": commit, "changed_since": bool(_output("git", "status", "--porcelain", "--", ".", *_WRITTEN))}


def bundle_record(manifest: Manifest) -> dict[str, Any]:
    return {
        "name": manifest.name,
        "guidelines": manifest.guidelines,
        "vectors": manifest.vectors,
        "encoder": manifest.encoder.id,
        "index": manifest.index.kind,
    }


def _processor() -> str:
    found = re.search(r"^Model name:\s*(.+)$", _output("lscpu"), re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def _output(*command: str) -> str:
    """What a command prints; empty where there is no such command or it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=_REPOSITORY,
            capture_output=True,
            text=True,
            env={**os.environ, "LC_ALL": "C"},
            timeout=30,
            check=False,
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

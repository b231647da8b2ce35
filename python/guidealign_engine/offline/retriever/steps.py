"""A step that is done once: what its result depends on, and the files that it leaves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STEP_RECORD = "step.json"

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: what its result depends on, by name, and what does it."""

    name: str
    inputs: Mapping[str, Any]
    """Options as they are, digests of files, and fingerprints of the steps before; plain JSON."""
    run: Callable[[Path, Report], Mapping[str, Any]]
    """Writes files into the folder, and returns what is worth recording."""
    after: tuple[str, ...] = ()
    """Steps whose files it reads: it is done anew when one of them is."""
    goes_on: bool = False
    """Whether it goes on from what a killed run left in the folder."""

    @property
    def fingerprint(self) -> str:
        return digest_of(self.inputs)


def digest_of(value: Any) -> str:
    """Of anything that JSON holds."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def folder_digest(folder: Path) -> str:
    """Of the names and contents of all files below."""
    return digest_of(files_in(folder))


def files_in(folder: Path) -> dict[str, str]:
    """Name → SHA-256 of all files below, but for the record of a step."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != STEP_RECORD)
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

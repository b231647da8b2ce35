"""JSON lines that people write, one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from guidealign_engine.errors import ArtifactError


def read_objects(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each object with its line number; blank lines are passed over.

    Raises ArtifactError for a file that cannot be read or is not UTF-8, and naming the line that holds no object.
    """
    try:
        with file.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, _object(line, file, number)
    except OSError as error:
        raise ArtifactError(f"the file cannot be read: {error.strerror}", file=file) from error
    except UnicodeDecodeError as error:
        raise ArtifactError(f"the file is not UTF-8 ({error.reason} at byte {error.start})", file=file) from error


def wrong_field(fields: dict[str, Any], name: str, rule: str, *, file: Path, number: int) -> ArtifactError:
    """The error for a field that is missing or breaks a rule: what is there, and what must be."""
    found = f"{fields[name]!r:.60}" if name in fields else "missing"
    return ArtifactError(f"line {number}: {found}; must be {rule}", file=file, field=name)


def _object(line: str, file: Path, number: int) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"line {number}: not JSON: {error}", file=file) from error
    if not isinstance(fields, dict):
        raise ArtifactError(f"line {number}: a {type(fields).__name__}; each line must be a JSON object", file=file)
    return fields

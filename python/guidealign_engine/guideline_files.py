"""Guideline files: JSON lines, one guideline a line, made for review."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from guidealign_engine.config import Kind
from guidealign_engine.errors import ArtifactError
from guidealign_engine.library import GuidelineRecord

MAX_TEXT_CHARACTERS = 20_000
# The largest number that float32, in which priorities are kept, can hold.
_MAX_PRIORITY = 3.4028234e38


def read_guidelines(paths: Iterable[Path], *, default_kind: Kind | None = None) -> list[GuidelineRecord]:
    """All guidelines of the files, or of all `*.jsonl` in a folder, in the order of the files' names.

    default_kind: for records without a kind; None makes that an error.
    Raises ArtifactError naming file, line and field of the first record that is none, and of an id that comes twice.
    """
    records = []
    places: dict[str, str] = {}
    for file in guideline_paths(paths):
        for number, line in _lines(file):
            record = guideline_of(line, file, number, default_kind)
            place = f"{file}, line {number}"
            if record.id in places:
                raise ArtifactError(
                    f"line {number}: id {record.id!r} was given before, in {places[record.id]}", file=file, field="id"
                )
            places[record.id] = place
            records.append(record)
    if not records:
        raise ArtifactError("there are no guidelines in it", file=", ".join(map(str, paths)) or "(no file)")
    return records


def guideline_paths(paths: Iterable[Path]) -> Iterator[Path]:
    """The files themselves, and all `*.jsonl` of folders in the order of their names."""
    for path in paths:
        if path.is_dir():
            yield from sorted(path.glob("*.jsonl"))
        elif path.is_file():
            yield path
        else:
            raise ArtifactError("there is no such file", file=path)


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, line
    except UnicodeDecodeError as error:
        raise ArtifactError(f"the file is not UTF-8 ({error.reason} at byte {error.start})", file=file) from error


def guideline_of(line: str, file: Path, number: int, default_kind: Kind | None) -> GuidelineRecord:
    """The guideline on a line. Raises ArtifactError naming file, line and field where it is none."""

    def fail(field: str | None, rule: str) -> ArtifactError:
        return ArtifactError(f"line {number}: {rule}", file=file, field=field)

    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise fail(None, f"not JSON: {error.msg} at column {error.colno}") from error
    except (RecursionError, ValueError) as error:
        raise fail(None, f"not JSON that can be read: {error}") from error
    if not isinstance(fields, Mapping):
        raise fail(None, f"a {type(fields).__name__}; each line must be a JSON object")

    def text(name: str, default: str | None = None) -> str:
        value = fields.get(name, default)
        if value is None:
            raise fail(name, "the field is missing")
        if not isinstance(value, str) or (default is None and not value.strip()):
            raise fail(name, f"{value!r:.60}; must be a string that is not blank")
        if len(value) > MAX_TEXT_CHARACTERS:
            raise fail(name, f"{len(value)} characters; at most {MAX_TEXT_CHARACTERS} are allowed")
        check_unicode(name, value)
        return value

    def check_unicode(name: str, value: str) -> None:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise fail(name, f"half of a surrogate pair at character {error.start}; must be valid Unicode") from error

    def texts(name: str) -> tuple[str, ...]:
        values: Any = fields.get(name, ())
        if not isinstance(values, Sequence) or isinstance(values, str):
            raise fail(name, f"{values!r:.60}; must be a list of strings")
        if any(not isinstance(value, str) or not value.strip() for value in values):
            raise fail(name, "holds something that is no string, or a blank one")
        for value in values:
            check_unicode(name, value)
        return tuple(values)

    kind = text("kind", default_kind)
    if kind not in tuple(Kind):
        raise fail("kind", f"{kind!r}; allowed: {', '.join(Kind)}")
    priority = fields.get("priority", 0.0)
    if isinstance(priority, bool) or not isinstance(priority, (int, float)) or not abs(priority) <= _MAX_PRIORITY:
        raise fail("priority", f"{priority!r}; must be a finite number")
    return GuidelineRecord(
        id=text("id"),
        kind=kind,
        category=text("category", ""),
        title=text("title"),
        text=text("text"),
        examples=texts("examples"),
        tags=texts("tags"),
        priority=float(priority),
        source=text("source", ""),
    )

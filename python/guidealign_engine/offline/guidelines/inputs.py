"""Inputs of users, read one at a time from text, JSON lines, CSV and Parquet, however long the files are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guidealign_engine.errors import ArtifactError
from guidealign_engine.offline.guidelines.input_files import (
    RawRecord,
    Records,
    csv_records,
    json_records,
    parquet_records,
    text_records,
)

MAX_INPUT_CHARACTERS = 100_000
TEXT_FIELDS = ("input", "prompt", "text")
"""Where a record's text is looked for, in this order, when no field is named"""
_TEXT_SUFFIXES = ("", ".txt")
_JSON_SUFFIXES = (".jsonl", ".ndjson")
_CSV_SUFFIXES = (".csv", ".tsv")
_SUFFIXES = (*_TEXT_SUFFIXES, *_JSON_SUFFIXES, *_CSV_SUFFIXES, ".parquet")

OnSkip = Callable[[ArtifactError], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What a user may write; `category` is its risk type where it is known, `place` where it was read."""

    text: str
    category: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class _Fields:
    text: str | None
    category: str

    def text_of(self, names: Iterable[str]) -> str | None:
        """The field that holds the text, None when there is none."""
        wanted = TEXT_FIELDS if self.text is None else (self.text,)
        there = set(names)
        return next((name for name in wanted if name in there), None)

    def lacking(self, names: Iterable[str]) -> str:
        wanted = " or ".join(TEXT_FIELDS) if self.text is None else repr(self.text)
        return f"there is no {wanted}; the fields are {', '.join(map(str, names))[:200] or 'none'}"


def read_inputs(
    paths: Iterable[Path],
    *,
    strict: bool,
    on_skip: OnSkip,
    text_field: str | None = None,
    category_field: str = "category",
) -> Iterator[Input]:
    """The inputs of the files, or of all files of a known kind in a folder, in the order of their names.

    The suffix says what a file is: .txt or none is one input a line, .jsonl and .ndjson are JSON objects a line,
    .csv and .tsv have a header, .parquet has columns. text_field: None takes the first of input, prompt and text.
    on_skip: is given what is wrong with a record, and reading goes on after it; `strict` raises it instead.

    Raises ArtifactError for a file that is missing, empty, in another encoding than UTF-8 or without the column, and
    for one in which no record can be read.
    """
    fields = _Fields(text_field, category_field)
    files = list(_files(paths))
    return (read for file in files for read in _inputs(file, fields, strict, on_skip))


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES[1:] and file.is_file())
            if not inside:
                raise ArtifactError(f"the folder holds no file with {', '.join(_SUFFIXES[1:])}", file=path)
            yield from map(_checked, inside)
        else:
            yield _checked(path)


def _checked(file: Path) -> Path:
    if not file.exists():
        raise ArtifactError("there is no such file", file=file)
    if file.suffix not in _SUFFIXES:
        raise ArtifactError(f"the suffix is {file.suffix!r}; allowed: none, {', '.join(_SUFFIXES[1:])}", file=file)
    if file.is_file() and file.stat().st_size == 0:
        raise ArtifactError("the file is empty", file=file)
    return file


def _inputs(file: Path, fields: _Fields, strict: bool, on_skip: OnSkip) -> Iterator[Input]:
    found, bad = 0, list[ArtifactError]()
    for record in _records(file, fields):
        read = record if isinstance(record, ArtifactError) else _input(file, record, fields)
        if isinstance(read, Input):
            found += 1
            yield read
        elif strict:
            raise read
        else:
            bad = bad or [read]
            on_skip(read)
    if bad and not found:
        raise ArtifactError(f"none of its records can be read; the first: {bad[0]}", file=file)
    if not found:
        raise ArtifactError("the file is empty: there is no input in it", file=file)


def _records(file: Path, fields: _Fields) -> Records:
    def pick(columns: Sequence[str]) -> Sequence[str]:
        text = fields.text_of(columns)
        if text is None:
            raise ArtifactError(fields.lacking(columns), file=file, field=fields.text or TEXT_FIELDS[0])
        return [text, *(name for name in columns if name == fields.category != text)]

    if file.suffix in _TEXT_SUFFIXES:
        return text_records(file)
    if file.suffix in _JSON_SUFFIXES:
        return json_records(file)
    return csv_records(file, pick) if file.suffix in _CSV_SUFFIXES else parquet_records(file, pick)


def _input(file: Path, record: RawRecord, fields: _Fields) -> Input | ArtifactError:
    def fail(field: str, wrong: str) -> ArtifactError:
        return ArtifactError(f"{record.place}: {wrong}", file=file, field=field)

    # A text file has one field, whatever the fields of the others are called.
    name = TEXT_FIELDS[0] if file.suffix in _TEXT_SUFFIXES else fields.text_of(record.fields)
    if name is None:
        return fail(fields.text or TEXT_FIELDS[0], fields.lacking(record.fields))
    text = record.fields[name]
    if wrong := _wrong(text):
        return fail(name, wrong)
    category = record.fields.get(fields.category)
    if category is None or category == "":
        category = ""
    elif wrong := _wrong(category):
        return fail(fields.category, wrong)
    return Input(text=text, category=category, place=f"{file}, {record.place}")


def _wrong(value: Any) -> str | None:
    """What is wrong with a value that should be text."""
    if not isinstance(value, str) or not value.strip():
        return f"{value!r:.60}; must be a string that is not blank"
    if len(value) > MAX_INPUT_CHARACTERS:
        return f"{len(value)} characters; at most {MAX_INPUT_CHARACTERS} are allowed"
    if "\0" in value:
        return f"a NUL at character {value.index(chr(0))}; is the file UTF-16 without its mark?"
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return f"half of a surrogate pair at character {error.start}; must be valid Unicode"
    return None

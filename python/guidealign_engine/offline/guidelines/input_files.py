"""Records of files of inputs, one at a time: text, JSON lines, CSV, Parquet. A bad record is a value."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from guidealign_engine.errors import ArtifactError
from guidealign_engine.optional_packages import import_optional

_MAX_LINE_BYTES = 32 << 20
_PARQUET_ROWS = 1024
_DELIMITERS = ",;\t"
# Longer marks come first: one of UTF-32 begins like one of UTF-16.
_OTHER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


@dataclass(frozen=True, slots=True)
class RawRecord:
    """The fields of a record, and where it stands in its file: "line 3" or "row 3"."""

    place: str
    fields: Mapping[str, Any]


Records = Iterator[RawRecord | ArtifactError]
Pick = Callable[[Sequence[str]], Sequence[str]]


def text_records(file: Path) -> Records:
    """Each line that is not blank, as the field "input"."""
    for number, line in _lines_or_errors(file):
        yield line if isinstance(line, ArtifactError) else RawRecord(f"line {number}", {"input": line})


def json_records(file: Path) -> Records:
    """Each line that is not blank, as a JSON object."""
    for number, line in _lines_or_errors(file):
        yield line if isinstance(line, ArtifactError) else _json_record(file, number, line)


def csv_records(file: Path, pick: Pick) -> Records:
    """The rows below the header. `pick` sees the names of all columns and raises where one is lacking."""
    with _opened(file) as opened:
        lines = _Lines(file, opened)
        with suppress(StopIteration):
            header_line = next(line for line in lines if line.strip())
            delimiter = max(_DELIMITERS, key=header_line.count)
            header = next(csv.reader([header_line], delimiter=delimiter))
            pick(header)
            yield from _csv_rows(file, lines, header, delimiter)


def parquet_records(file: Path, pick: Pick) -> Records:
    """The rows, read in batches. `pick` chooses among the names of all columns, and raises where one is lacking."""
    pyarrow = import_optional("pyarrow", package="pyarrow", extra="offline", purpose="reading Parquet")
    parquet_files = import_optional("pyarrow.parquet", package="pyarrow", extra="offline", purpose="reading Parquet")
    try:
        with parquet_files.ParquetFile(file) as parquet:
            columns = list(pick(parquet.schema_arrow.names))
            row = 0
            for batch in parquet.iter_batches(batch_size=_PARQUET_ROWS, columns=columns):
                for fields in batch.to_pylist():
                    row += 1
                    yield RawRecord(f"row {row}", fields)
    except (pyarrow.ArrowException, OSError) as error:
        raise ArtifactError(f"this is no Parquet file that can be read: {error}", file=file) from error


def _lines_or_errors(file: Path) -> Iterator[tuple[int, str | ArtifactError]]:
    with _opened(file) as opened:
        lines = _Lines(file, opened)
        while True:
            try:
                line = next(lines)
            except StopIteration:
                return
            except _LongLine as error:
                yield lines.number, error
                continue
            if line.strip():
                yield lines.number, line.rstrip("\r\n")


def _json_record(file: Path, number: int, line: str) -> RawRecord | ArtifactError:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        return ArtifactError(f"line {number}: not JSON: {error.msg} at column {error.colno}", file=file)
    except (RecursionError, ValueError) as error:
        return ArtifactError(f"line {number}: not JSON that can be read: {error}", file=file)
    if not isinstance(fields, Mapping):
        return ArtifactError(f"line {number}: a {type(fields).__name__}; each line must be a JSON object", file=file)
    return RawRecord(f"line {number}", fields)


def _csv_rows(file: Path, lines: _Lines, header: Sequence[str], delimiter: str) -> Records:
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        # A quoted field may run over lines; the record is where it begins.
        place = f"line {lines.number + 1}"
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield ArtifactError(f"{place}: not CSV: {error}", file=file)
            continue
        except _LongLine as error:
            yield error
            continue
        if len(row) == len(header):
            yield RawRecord(place, dict(zip(header, row, strict=True)))
        elif row:
            yield ArtifactError(f"{place}: {len(row)} fields; the header has {len(header)}", file=file)


class _LongLine(ArtifactError):
    """A line that is not read; reading can go on after it."""


class _Lines:
    """Lines of a UTF-8 file, counted, with or without a byte order mark.

    Raises ArtifactError naming line and byte where the file is in another encoding, _LongLine for a line over 32 MiB.
    """

    def __init__(self, file: Path, opened: BinaryIO) -> None:
        self.number = 0
        self._file = file
        self._opened = opened

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._opened.readline(_MAX_LINE_BYTES + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if self.number == 1:
            self._check_mark(line)
        if len(line) > _MAX_LINE_BYTES:
            self._skip_rest(line)
            raise _LongLine(f"line {self.number}: over {_MAX_LINE_BYTES} bytes", file=self._file)
        try:
            return line.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ArtifactError(
                f"line {self.number}: not UTF-8 ({error.reason} 0x{line[error.start]:02x} at byte {error.start}); "
                "save the file as UTF-8",
                file=self._file,
            ) from error

    def _check_mark(self, line: bytes) -> None:
        found = next((name for mark, name in _OTHER_MARKS.items() if line.startswith(mark)), None)
        if found is not None:
            raise ArtifactError(
                f"line 1: not UTF-8 but {found}, as the mark 0x{line[0]:02x}{line[1]:02x} at byte 0 says; "
                "save the file as UTF-8",
                file=self._file,
            )

    def _skip_rest(self, line: bytes) -> None:
        while line and not line.endswith(b"\n"):
            line = self._opened.readline(_MAX_LINE_BYTES)


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise ArtifactError(f"the file cannot be read: {error.strerror}", file=file) from error

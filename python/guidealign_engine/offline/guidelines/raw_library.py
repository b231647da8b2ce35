"""Raw guidelines by number, in the order in which they were read: ids and places, while the texts stay in the files."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guidealign_engine.errors import ArtifactError
from guidealign_engine.offline.guidelines.guideline_lines import GuidelineLine


@dataclass(frozen=True, slots=True)
class RawLine:
    """A line read once more, as it stands in its file."""

    text: str
    fields: dict[str, Any]


class RawLibrary:
    """Half a hundred bytes and the id for each guideline, however long the texts are."""

    def __init__(self) -> None:
        self.ids = list[str]()
        self.examples = 0
        self._first = dict[str, int]()
        self._content = array("q")
        self._files = list[Path]()
        self._file = array("L")
        self._offset = array("Q")
        self._line = array("L")

    def __len__(self) -> int:
        return len(self.ids)

    def number_of(self, id: str) -> int | None:
        """The first guideline of the id."""
        return self._first.get(id)

    def add(self, line: GuidelineLine) -> int:
        """The guideline's number. Raises ArtifactError for an id that another guideline has."""
        number = len(self)
        content = hash((line.record.kind, line.record.entry))
        first = self._first.setdefault(line.record.id, number)
        if first != number and self._content[first] != content:
            raise ArtifactError(
                f"line {line.number}: id {line.record.id!r} was given before, in {self.place(first)}, to another "
                "guideline; give it an id of its own",
                file=line.file,
                field="id",
            )
        # One string for all guidelines of an id.
        self.ids.append(line.record.id if first == number else self.ids[first])
        self.examples += len(line.record.examples)
        self._content.append(content)
        if not self._files or self._files[-1] != line.file:
            self._files.append(line.file)
        self._file.append(len(self._files) - 1)
        self._offset.append(line.offset)
        self._line.append(line.number)
        return number

    def place(self, number: int) -> str:
        return f"{self.file(number)}, line {self.line(number)}"

    def file(self, number: int) -> Path:
        return self._files[self._file[number]]

    def line(self, number: int) -> int:
        return self._line[number]

    def read(self, numbers: Iterable[int]) -> Iterator[RawLine]:
        """The lines of the guidelines. Raises ArtifactError where a file has changed since it was read."""
        opened: tuple[Path, Any] | None = None
        try:
            for number in numbers:
                file = self.file(number)
                if opened is None or opened[0] != file:
                    if opened is not None:
                        opened[1].close()
                    opened = (file, file.open("rb"))
                opened[1].seek(self._offset[number])
                yield self._checked(opened[1].readline(), number)
        finally:
            if opened is not None:
                opened[1].close()

    def _checked(self, line: bytes, number: int) -> RawLine:
        try:
            text = line.decode()
            fields = json.loads(text)
            if fields["id"] == self.ids[number]:
                return RawLine(text, fields)
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        raise ArtifactError(
            f"line {self.line(number)}: id {self.ids[number]!r} is not there any more; the file was changed during the "
            "merge, so start it again",
            file=self.file(number),
        )

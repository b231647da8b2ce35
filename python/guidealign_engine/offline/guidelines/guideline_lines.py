"""Guidelines of files one at a time, each with the place where it stands. A bad record is a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from guidealign_engine.errors import ArtifactError
from guidealign_engine.guideline_files import guideline_of, guideline_paths
from guidealign_engine.library import GuidelineRecord


@dataclass(frozen=True, slots=True)
class GuidelineLine:
    """A guideline, and the line that it was read from."""

    record: GuidelineRecord
    file: Path
    number: int
    offset: int
    """bytes of the file before the line"""

    @property
    def place(self) -> str:
        return f"{self.file}, line {self.number}"


def guideline_lines(paths: Iterable[Path]) -> Iterator[GuidelineLine | ArtifactError]:
    """The guidelines of the files, or of all `*.jsonl` in a folder, in the order of the files' names.

    A record that is no guideline is an ArtifactError naming file, line and field, and reading goes on after it.
    Raises ArtifactError for a file that cannot be read, is not UTF-8 or holds no guideline.
    """
    for file in guideline_paths(paths):
        found = False
        for line in _lines(file):
            found = True
            yield line
        if not found:
            raise ArtifactError("there are no guidelines in it", file=file)


def _lines(file: Path) -> Iterator[GuidelineLine | ArtifactError]:
    offset = 0
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                wrong = f"line {number}: not UTF-8 ({error.reason} at byte {offset + error.start}); save it as UTF-8"
                raise ArtifactError(wrong, file=file) from error
            if text.strip():
                yield _line(text, file, number, offset)
            offset += len(line)


def _line(text: str, file: Path, number: int, offset: int) -> GuidelineLine | ArtifactError:
    try:
        return GuidelineLine(guideline_of(text, file, number, None), file, number, offset)
    except ArtifactError as error:
        return error

"""What of a process lies in memory: all of it, and what it has mapped of a bundle's files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from guidealign_engine.bundle import COLUMNS, GUIDELINES, VECTORS
from guidealign_engine.engine import Engine

_MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(.*)$")


@dataclass(frozen=True, slots=True)
class Resident:
    """Bytes in memory."""

    total: int
    texts: int
    """guidelines.jsonl as far as it is mapped, the texts in the columns, and the same texts as symbols."""
    vectors: int

    @property
    def beyond_texts(self) -> int:
        return self.total - self.texts


def resident(engine: Engine, folder: Path) -> Resident:
    """Of this process, which holds the engine of the bundle. Linux only."""
    by_file = _resident_by_file()
    library = engine.library
    entries = min(by_file.get(folder / COLUMNS, 0), library.entry_bytes.nbytes)
    # ASCII texts are their own symbols; others have a copy, of a byte or two a character.
    symbols = 0 if library.symbols.values is library.entry_bytes else library.symbols.values.nbytes
    return Resident(
        total=sum(by_file.values()),
        texts=by_file.get(folder / GUIDELINES, 0) + entries + symbols,
        vectors=by_file.get(folder / VECTORS, 0),
    )


def _resident_by_file() -> dict[Path, int]:
    found: dict[Path, int] = {}
    file = Path()
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace").splitlines():
        if mapping := _MAPPING.match(line):
            file = Path(mapping[1])
        elif line.startswith("Rss:"):
            found[file] = found.get(file, 0) + 1024 * int(line.split()[1])
    return found

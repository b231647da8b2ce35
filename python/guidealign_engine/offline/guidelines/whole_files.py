"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO


@contextmanager
def written_whole(files: Sequence[Path]) -> Iterator[list[TextIO]]:
    """Opens a text file for each name; all are synced and put in place when the block ends, none when it fails."""
    scratch = list[Path]()
    try:
        with ExitStack() as stack:
            opened = list[TextIO]()
            for file in files:
                file.parent.mkdir(parents=True, exist_ok=True)
                descriptor, made = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
                scratch.append(Path(made))
                opened.append(stack.enter_context(open(descriptor, "w", encoding="utf-8", newline="\n")))
            yield opened
            for each in opened:
                each.flush()
                os.fsync(each.fileno())
        for name, file in zip(list(scratch), files, strict=True):
            name.chmod(0o666 & ~_umask())
            name.replace(file)
            scratch.remove(name)
    finally:
        for name in scratch:
            with suppress(OSError):
                name.unlink()


def _umask() -> int:
    """The bits that new files of this process lack; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

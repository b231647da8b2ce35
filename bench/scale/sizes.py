"""Sizes of libraries as they are written on a command line: 1k, 33kx5, 1M."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SIZE = re.compile(r"(\d+)(k|M)?(?:x(\d+))?")
_UNITS = {None: 1, "k": 1_000, "M": 1_000_000}


@dataclass(frozen=True, slots=True)
class Size:
    """So many guidelines, each with so many vectors."""

    name: str
    guidelines: int
    vectors_each: int = 1

    @classmethod
    def parse(cls, text: str) -> Size:
        """Raises ValueError for what is no size."""
        found = _SIZE.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"size is {text!r}; write a number of guidelines and of vectors each, such as 1k or 33kx5")
        count, unit, each = found.groups()
        size = cls(text.strip(), int(count) * _UNITS[unit], int(each or 1))
        if size.guidelines < 1 or size.vectors_each < 1:
            raise ValueError(f"size is {text!r}; it must have at least one guideline, and one vector each")
        return size

    @property
    def vectors(self) -> int:
        return self.guidelines * self.vectors_each

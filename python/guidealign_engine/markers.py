"""Keeps text from posing as our own markers."""

from __future__ import annotations

import re
from functools import lru_cache

from guidealign_engine import _native


def neutralise(text: str, markers: tuple[str, ...]) -> str:
    """The text with a backslash behind the first character of every marker in it; unchanged, and not copied, without.

    ASCII letters match in either case.
    """
    find = marker_finder(markers).find
    if find(text) < 0:
        return text
    pattern = re.compile("|".join(map(re.escape, markers)), re.IGNORECASE | re.ASCII)
    # Markers may overlap, so that breaking one up leaves another whole.
    while find(text) >= 0:
        text = pattern.sub(lambda match: f"{match[0][0]}\\{match[0][1:]}", text)
    return text


@lru_cache(maxsize=64)
def marker_finder(markers: tuple[str, ...]) -> _native.MarkerFinder:
    """Finds the first of the markers in a text."""
    return _native.MarkerFinder(list(markers))

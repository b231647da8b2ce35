"""Keeps text from posing as our own markers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from guidealign_engine import _native


def neutralise(text: str, markers: Sequence[str]) -> str:
    """The text with a backslash behind the first character of every marker in it; unchanged, and not copied, without.

    ASCII letters match in either case.
    """
    if _native.find_marker(text, list(markers)) < 0:
        return text
    pattern = re.compile("|".join(map(re.escape, markers)), re.IGNORECASE | re.ASCII)
    # Markers may overlap, so that breaking one up leaves another whole.
    while _native.find_marker(text, list(markers)) >= 0:
        text = pattern.sub(lambda match: f"{match[0][0]}\\{match[0][1:]}", text)
    return text

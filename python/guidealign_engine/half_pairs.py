"""Halves of surrogate pairs, which Python strings can hold and UTF-8 has no form for."""

from __future__ import annotations


def without_half_pairs(text: str) -> str:
    """The text with U+FFFD for each half of a surrogate pair, which UTF-8 has no form for."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text

"""Texts that are the same but for what nobody reads: case, spaces, Unicode form."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable


def without_doubles(texts: Iterable[str]) -> list[str]:
    """The first of each set of texts that differ in case, spaces or Unicode form alone."""
    firsts = dict[str, str]()
    for text in texts:
        firsts.setdefault(plain_form(text), text)
    return list(firsts.values())


def plain_form(text: str) -> str:
    """The text without what does not make it another one: case, spaces, Unicode form."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())

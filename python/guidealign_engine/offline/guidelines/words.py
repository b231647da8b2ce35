"""Words and scripts of a text, by rules that hold for every language well enough to count."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

# Characters of Chinese and Japanese, which write no spaces: each counts as a word.
UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_CHUNK = re.compile(rf"[{UNSPACED}]|[^\s—–/{UNSPACED}]+")
_SCRIPTS = {
    "CJK": "Chinese",
    "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese",
    "KATAKANA-HIRAGANA": "Japanese",
    "HANGUL": "Korean",
    "FULLWIDTH": "Latin",
    "MATHEMATICAL": "Latin",
}


def words(text: str) -> list[str]:
    """The words of a text in lower case, without the marks around them; an apostrophe or hyphen inside stays."""
    chunks = _CHUNK.findall(text.casefold().replace("’", "'"))
    return [word for chunk in chunks if (word := _bare(chunk))]


def script_of(text: str) -> str:
    """The script that most letters of the text belong to, "Latin" or "Arabic" or so; "none" without any letter.

    Chinese characters beside kana are Japanese.
    """
    counts = Counter(_script(letter) for letter in text if letter.isalpha())
    if "Japanese" in counts:
        counts["Japanese"] += counts.pop("Chinese", 0)
    return max(counts, key=lambda script: counts[script]) if counts else "none"


def has_letters_beyond_ascii(text: str) -> bool:
    """True for "café" and for "日本", false for a text whose only other characters are dashes, quotes or emoji."""
    return not text.isascii() and any(letter.isalpha() and not letter.isascii() for letter in text)


def _bare(chunk: str) -> str:
    """The chunk from its first letter or digit to its last, with the vowel signs that some scripts write after it."""
    start, end = 0, len(chunk)
    while start < end and not chunk[start].isalnum():
        start += 1
    while end > start and not (chunk[end - 1].isalnum() or unicodedata.category(chunk[end - 1]).startswith("M")):
        end -= 1
    return chunk[start:end]


@lru_cache(maxsize=65536)
def _script(letter: str) -> str:
    name = unicodedata.name(letter, "UNKNOWN").split()[0]
    return _SCRIPTS.get(name, name.capitalize())

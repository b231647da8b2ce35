"""Reads the guidelines in a model's answer, in whatever form it writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from guidealign_engine.offline.guidelines.guideline_text import titles_and_texts
from guidealign_engine.offline.guidelines.spoken import without_thoughts

MAX_GUIDELINES = 8
MIN_TEXT_CHARACTERS = 20
MAX_TEXT_CHARACTERS = 1_200
MAX_TITLE_CHARACTERS = 120
MAX_TITLE_WORDS = 12

_MOST_OBJECTS = 100
_JSON_FIELD = re.compile(r'"(guidelines|title|text)"\s*:')
_TITLE_FIELDS = ("title", "name")
_TEXT_FIELDS = ("text", "guideline", "description", "content")

_ENDS = '.!?。！？"”)'
# What stands before a colon in a preface or a refusal, and is no title.
_CHATTER = re.compile(
    r"(?:i(?:['’]\w+)?\s|as an ai\b|here(?:['’]s| is| are)\b|unfortunately\b|the following\b|(?:i['’]?m )?sorry,|sure,)"
    r"|(?:input|message|answer|output|note|notes|guidelines?|title|text|sorry|sure|certainly|verdict)$",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?]\s|[。！？]")


def read_guidelines_of(answer: str, *, cut: bool = False) -> list[tuple[str, str]]:
    """Title and text of each guideline in an answer, in its order; none for a refusal or another form.

    Reads JSON, also broken, in a fence or after a preface, and text: `Title: text`, numbered, bulleted or emphasised,
    the text also below its title. cut: the answer ended at its limit, so that its last guideline may be a piece of one.
    """
    spoken = without_thoughts(answer)
    pairs = list(_in_json(spoken) if _JSON_FIELD.search(spoken) else titles_and_texts(spoken))
    if cut and pairs and not pairs[-1][1].endswith(tuple(_ENDS)):
        pairs.pop()
    kept = {(title, text): None for title, text in pairs if _is_guideline(title, text)}
    return list(kept)[:MAX_GUIDELINES]


def _in_json(spoken: str) -> Iterator[tuple[str, str]]:
    """From the outermost objects that are whole: a list that breaks off still gives those before the break."""
    decoder, end = json.JSONDecoder(strict=False), 0
    for start in islice(re.finditer(r"\{", spoken), _MOST_OBJECTS):
        if start.start() < end:
            continue
        try:
            found, end = decoder.raw_decode(spoken, start.start())
        except (ValueError, RecursionError):
            continue
        listed = found.get("guidelines")
        yield from map(_fields, listed if isinstance(listed, list) else [found])


def _fields(row: Any) -> tuple[str, str]:
    if not isinstance(row, dict):
        return "", ""
    title = next((row[name] for name in _TITLE_FIELDS if name in row), "")
    return _folded(title), _folded(next((row[name] for name in _TEXT_FIELDS if name in row), ""))


def _folded(value: Any) -> str:
    return " ".join(value.replace("**", "").split()) if isinstance(value, str) else ""


def _is_guideline(title: str, text: str) -> bool:
    return (
        0 < len(title) <= MAX_TITLE_CHARACTERS
        and len(title.split()) <= MAX_TITLE_WORDS
        and any(character.isalpha() for character in title)
        and not _CHATTER.match(title)
        and not _SENTENCE_END.search(title)
        and MIN_TEXT_CHARACTERS <= len(text) <= MAX_TEXT_CHARACTERS
    )

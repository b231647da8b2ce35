"""Guidelines written as text: `Title: text`, numbered, bulleted or emphasised, the text also below its title."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_MARK = re.compile(r"(?:#{1,6}|[-*•–]|\(?\d{1,2}[.):])\s+")
_EMPHASISED = re.compile(r"(\*\*|__)(?P<title>.+?)\1\s*[:：–—-]?\s*(?P<text>.*)")
_TITLE_LABEL = re.compile(r"(?:guideline\s*(?:\d+\s*[:.]?|:)|title\s*\d*\s*:)\s*", re.IGNORECASE)
_TEXT_LABEL = re.compile(r"(?:text|description|content|instruction)\s*:\s*", re.IGNORECASE)
_COLON = re.compile(r"\s*[:：]\s*")


@dataclass(slots=True)
class _Line:
    """A line of an answer. title: None where it begins no guideline; firm: more than a colon says that it does."""

    title: str | None
    text: str
    firm: bool = False
    bullet: bool = False


def titles_and_texts(spoken: str) -> Iterator[tuple[str, str]]:
    """Whatever looks like a title with its text, in order; what is no guideline at all is for the caller to sort out.

    A line without a title belongs to the guideline above it: at once, or after an empty line if that has no text yet.
    """
    draft: _Line | None = None
    after_gap = True
    for line in map(_read, spoken.splitlines()):
        if not (line.title or line.text):
            after_gap = True
            continue
        if draft is not None and _belongs(line, draft, after_gap):
            more = line.text if line.title is None else f"{line.title}: {line.text}"
            draft.text = f"{draft.text} {more}"
        elif line.title is not None:
            yield from _finished(draft)
            draft = line
        after_gap = False
    yield from _finished(draft)


def _finished(draft: _Line | None) -> Iterator[tuple[str, str]]:
    if draft is not None:
        yield " ".join((draft.title or "").split()), " ".join(draft.text.split())


def _belongs(line: _Line, draft: _Line, after_gap: bool) -> bool:
    if after_gap and draft.text:
        return False
    if line.title is None:
        return not (line.bullet and draft.text)
    # A sentence with a colon, below a title that is set apart by more than a colon.
    return draft.firm and not line.firm


def _read(line: str) -> _Line:
    bare = line.strip()
    if bare.startswith("```"):
        return _Line(None, "")
    mark = _MARK.match(bare)
    bare = bare[mark.end() :] if mark else bare
    emphasised = _EMPHASISED.fullmatch(bare)
    plain = bare.replace("**", "").replace("__", "").strip()
    if label := _TEXT_LABEL.match(plain):
        return _Line(None, plain[label.end() :])
    if label := _TITLE_LABEL.match(plain):
        title, text = _split(plain[label.end() :])
        # A bare "Guideline 2" ends the one above it, as an empty line does.
        return _Line(title or None, text, firm=True)
    if emphasised and not _holds_both(emphasised["title"]):
        return _Line(emphasised["title"].rstrip(":： "), emphasised["text"].replace("**", ""), firm=True)
    if _COLON.search(plain):
        title, text = _split(plain)
        return _Line(title, text, firm=mark is not None)
    if mark and mark[0].startswith("#"):
        return _Line(plain, "", firm=True)
    return _Line(None, plain, bullet=mark is not None)


def _holds_both(emphasised: str) -> bool:
    return all(_split(emphasised))


def _split(plain: str) -> tuple[str, str]:
    colon = _COLON.search(plain)
    return (plain[: colon.start()], plain[colon.end() :]) if colon else (plain, "")

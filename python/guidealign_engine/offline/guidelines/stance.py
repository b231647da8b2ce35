"""Whether a guideline declines or helps, by its tags or by its words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import IntEnum

_DECLINES = re.compile(
    r"\b(?:refus\w+|declin\w+|reject\w*|withh[eo]ld\w*|forbid\w*|prohibit\w*|turn(?:s|ed)? down|do(?:es)? not|don['’]t"
    r"|never|cannot|can['’]t|must(?:n['’]t| not)|should(?:n['’]t| not)|may not|will not|won['’]t|not (?:to )?be"
    r"|off limits|out of bounds|outside what|stay out|leave \w+ (?:unsaid|unbuilt|empty)|gets? no|give no|no help)\b",
    re.IGNORECASE,
)
_HELPS = re.compile(
    r"\b(?:help\w*|assist\w*|answer\w*|explain\w*|describ\w*|support\w*|welcome|fine|legitimate|deserv\w+|in full"
    r"|freely|allowed)\b",
    re.IGNORECASE,
)


class Stance(IntEnum):
    """What a guideline does with a request. Unknown where nothing says so."""

    UNKNOWN = 0
    DECLINE = 1
    CARE = 2
    HELP = 3


_TAGS = {"decline": Stance.DECLINE, "care": Stance.CARE, "help": Stance.HELP}


def tagged_stance(tags: Iterable[str]) -> Stance:
    """What one of the tags `decline`, `care` and `help` says; unknown without one, or with several."""
    found = {_TAGS[tag] for tag in tags if tag in _TAGS}
    return found.pop() if len(found) == 1 else Stance.UNKNOWN


def worded_stance(text: str) -> Stance:
    """Decline for a text that refuses or forbids anything, help for one that only helps.

    Many a guideline declines one thing and helps with another, so `help` means that it forbids nothing at all.
    """
    if _DECLINES.search(text):
        return Stance.DECLINE
    return Stance.HELP if _HELPS.search(text) else Stance.UNKNOWN


def opposite(one: Stance, other: Stance) -> bool:
    """True when one declines and the other helps."""
    return {one, other} == {Stance.DECLINE, Stance.HELP}

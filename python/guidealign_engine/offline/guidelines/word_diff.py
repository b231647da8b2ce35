"""Which words of a text were taken out, and which were put in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum

from guidealign_engine.offline.guidelines.words import UNSPACED

# A word with the space before it. Punctuation, and characters of scripts that write no spaces, stand alone.
_PIECE = re.compile(rf"\s*(?:[{UNSPACED}]|[^\W{UNSPACED}]+(?:['’-]\w+)*|\S)|\s+$")


class Edit(StrEnum):
    SAME = "same"
    REMOVED = "removed"
    ADDED = "added"


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of words that share a fate."""

    edit: Edit
    text: str


def word_diff(before: str, after: str) -> list[Segment]:
    """Segments whose same and removed texts make up `before`, and whose same and added ones `after`."""
    old, new = _PIECE.findall(before), _PIECE.findall(after)
    segments = []
    # Without autojunk: it would call the common words of a long text noise.
    for _, old_start, old_end, new_start, new_end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        taken, put = "".join(old[old_start:old_end]), "".join(new[new_start:new_end])
        if taken == put:
            segments.append(Segment(Edit.SAME, taken))
        else:
            segments += [Segment(Edit.REMOVED, taken)] * bool(taken) + [Segment(Edit.ADDED, put)] * bool(put)
    return segments

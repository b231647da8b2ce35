"""What is left of a sentence when its content words go: two texts out of one template leave the same.

Each piece of a text between two punctuation marks becomes a skeleton: function words stay as they are, and every run of
other words becomes one mark. "Do not assist with fake passports or visas" and "Do not help with burglary or car theft"
both leave "do not _ with _ or _". The function words are English; a piece in another language leaves one mark only and
is not counted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from guidealign_engine.offline.guidelines.words import words

MARK = "_"
FEWEST_FUNCTION_WORDS = 4
"""Shorter skeletons, such as "how do i _", are common in honest prose."""

# An apostrophe or hyphen inside a word is no end of a piece, and neither is the point in 2.5.
_PIECE_END = re.compile(r"[.!?;:,…)\]\"”»](?=\s|$)|[。!?;:,、]|[—–(\[\"“«\n]")
_ENGLISH = """
a about across after all although always am among an and another any anybody anyone anything are around as at be because
been before behind being beside between both but by can can't cannot could did do does doesn't don't done down during
each either even every everybody everyone everything for from had has have having he her here hers herself him himself
his how i i'm i've if in instead into is isn't it it's its itself just least less may me might mine more most must my
myself neither never no nobody none nor not nothing of off on one ones only onto or other others our out over own per
rather same shall she should since so some somebody someone something somewhere still such than that that's the their
them themselves then there these they this those though through to too toward towards under unless until up upon us very
via was we were what what's when where whether which while who whom whose why will with within without won't would yet
you you're your yours yourself
"""
_FUNCTION_WORDS = frozenset(_ENGLISH.split())


def skeletons(text: str) -> list[str]:
    """The skeletons of a text that are long enough to tell something, each once."""
    pieces = (_skeleton(piece) for piece in _PIECE_END.split(text))
    long_enough = (piece for piece in pieces if len(piece) - piece.count(MARK) >= FEWEST_FUNCTION_WORDS)
    return list(dict.fromkeys(" ".join(piece) for piece in long_enough))


def shared_skeletons(texts: Sequence[str]) -> dict[str, list[int]]:
    """The skeletons that more than one text has, and the positions of those texts; the most shared one first."""
    owners: dict[str, list[int]] = {}
    for position, text in enumerate(texts):
        for skeleton in skeletons(text):
            owners.setdefault(skeleton, []).append(position)
    shared = {skeleton: positions for skeleton, positions in owners.items() if len(positions) > 1}
    return dict(sorted(shared.items(), key=lambda item: -len(item[1])))


def _skeleton(piece: str) -> list[str]:
    kept: list[str] = []
    for word in words(piece):
        if word in _FUNCTION_WORDS:
            kept.append(word)
        elif not kept or kept[-1] != MARK:
            kept.append(MARK)
    return kept

"""ROUGE-L between a new input and all that are kept, fast enough for hundreds of thousands."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.errors import ConfigError
from guidealign_engine.offline.guidelines.words import words

MAX_ROUGE = 0.7
"""The paper's: an input that is more like a kept one than this is dropped"""


@dataclass(frozen=True, slots=True)
class Alike:
    """The kept input that is most like another: its position, and ROUGE-L."""

    position: int
    rouge: float


class KeptInputs:
    """The inputs that are there, for finding the one that is most like a new one, if its ROUGE-L is over `max_rouge`.

    ROUGE-L is the F1 over words: twice the longest common subsequence, by the words of both. It cannot exceed the words
    that both have in any order, so these are counted first, through a list of inputs for each word, and only inputs
    that share enough are compared. The answer is that of comparing all.
    """

    def __init__(self, max_rouge: float = MAX_ROUGE) -> None:
        if not 0.0 <= max_rouge <= 1.0:
            raise ConfigError(f"the highest ROUGE-L is {max_rouge}; it must lie between 0 and 1")
        self._max_rouge = max_rouge
        self._ids: dict[str, int] = {}
        self._kept: list[list[int]] = []
        self._lengths = array("q")
        # The second "the" of a text is another word than the first, so that the lists count what two texts share.
        self._holders: dict[tuple[int, int], array[int]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, text: str) -> None:
        """Adds the input, whatever it is like."""
        ids = self._word_ids(text)
        for word in _numbered(ids):
            self._holders.setdefault(word, array("q")).append(len(self._kept))
        self._kept.append(ids)
        self._lengths.append(len(ids))

    def most_alike(self, text: str) -> Alike | None:
        """The first of the kept inputs with the highest ROUGE-L, None when none exceeds `max_rouge`.

        A text without words is like none.
        """
        from rapidfuzz import process
        from rapidfuzz.distance import Indel

        ids = self._word_ids(text)
        candidates, lengths = self._candidates(ids)
        if not len(candidates):
            return None
        # Indel similarity is twice the longest common subsequence, and whole, so that equal scores stay equal.
        shared = process.cdist([ids], [self._kept[row] for row in candidates], scorer=Indel.similarity, dtype=np.int32)
        rouge = shared[0] / (lengths + len(ids))
        best = int(np.argmax(rouge))
        return Alike(int(candidates[best]), float(rouge[best])) if rouge[best] > self._max_rouge else None

    def _word_ids(self, text: str) -> list[int]:
        return [self._ids.setdefault(word, len(self._ids)) for word in words(text)]

    def _candidates(self, ids: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions of the inputs that share enough words, in any order, and how many words these have."""
        lists = [self._holders[word] for word in _numbered(ids) if word in self._holders]
        if not lists:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        holders = np.concatenate([np.frombuffer(holders, dtype=np.int64) for holders in lists])
        shared = np.bincount(holders, minlength=len(self._kept))
        lengths = np.array(self._lengths, dtype=np.int64)
        candidates = np.flatnonzero(2 * shared > self._max_rouge * (lengths + len(ids)))
        return candidates, lengths[candidates]


def _numbered(ids: Sequence[int]) -> list[tuple[int, int]]:
    """Each word with how often it came before."""
    seen = Counter[int]()
    numbered = []
    for word in ids:
        numbered.append((word, seen[word]))
        seen[word] += 1
    return numbered

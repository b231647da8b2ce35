"""Where each raw guideline is after a merge, and which of them may meet."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.config import Kind
from guidealign_engine.offline.guidelines.raw_library import RawLibrary
from guidealign_engine.offline.guidelines.stance import Stance

KINDS = tuple(Kind)


class Way(IntEnum):
    """Why a guideline went into another one."""

    STAYS = 0
    ID = 1
    TEXT = 2
    MEANING = 3


@dataclass(slots=True)
class Merge:
    """For each raw guideline, by number: where it went, if it went."""

    raw: RawLibrary = field(default_factory=RawLibrary)
    ways: array[int] = field(default_factory=lambda: array("B"))
    like: array[int] = field(default_factory=lambda: array("L"))
    """The one that it was found to be like; its own number if it stays"""
    likeness: array[float] = field(default_factory=lambda: array("d"))
    labels: array[int] = field(default_factory=lambda: array("B"))
    """Kind and stance as one number"""
    skipped: int = 0
    strange: int = 0
    """guidelines in languages that the encoder does not know, which are not compared by meaning"""

    def goes(self, number: int, into: int, way: Way, likeness: float) -> None:
        self.ways[number], self.like[number], self.likeness[number] = way, into, likeness

    def went(self) -> list[int]:
        """How many guidelines went by their id, by their text, by their meaning."""
        counts = np.bincount(np.frombuffer(self.ways, dtype=np.uint8), minlength=len(Way))
        return [int(count) for count in counts[1:]]

    def into(self) -> NDArray[np.int64]:
        """The guideline that each one is in at the end, int64 (raw guidelines)."""
        target = np.array(self.like, dtype=np.int64)
        # What a text went into may have gone into another one by its meaning, and that one stays.
        while not np.array_equal(target, target[target]):
            target = target[target]
        return target

    def may_meet(self, later: NDArray[np.int64], earlier: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which pairs are of one kind and do not contradict each other, bool (pairs)."""
        labels = np.frombuffer(self.labels, dtype=np.uint8)
        return _MAY_MEET[labels[later], labels[earlier]]


def label_of(kind: int, stance: Stance) -> int:
    return kind * len(Stance) + stance


def _allowed_meetings() -> NDArray[np.bool_]:
    """Which labels may meet, bool (labels, labels)."""
    kinds, stances = np.divmod(np.arange(len(KINDS) * len(Stance)), len(Stance))
    helps, declines = stances == Stance.HELP, stances == Stance.DECLINE
    contrary = (helps[:, None] & declines) | (declines[:, None] & helps)
    allowed: NDArray[np.bool_] = (kinds[:, None] == kinds) & ~contrary
    return allowed


_MAY_MEET = _allowed_meetings()

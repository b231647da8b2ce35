"""Whether what a peer answered is an answer, and how much of the exact one it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.oracle import without_duplicates
from bench.peers.adapters import guide_align
from bench.peers.process import PeerError
from bench.peers.registry import Duplicates
from bench.peers.task import CANDIDATES, SHOWN

# Encoders in batches, and libraries that normalise once more, round differently.
_TIE = 1e-4
# No approximate index in good order finds less; what does so searches for something else.
_FEWEST_OF_EXACT = 0.5
# Diversity leaves out what is alike on purpose.
_FEWEST_OF_DIVERSE = 0.1

Scores = Callable[[str], NDArray[np.float64]]
"""Of every guideline for a prompt, float64 (guidelines), from an exact search."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An exact search over the vectors that a peer searches."""

    entries: list[str]
    scores: Scores
    duplicates: Duplicates

    def recall(self, prompt: str, positions: Sequence[int]) -> float:
        """Share of the exact six that are among `positions`, or are tied with the last of them."""
        scores = self.scores(prompt)
        ranked = np.argsort(-scores, kind="stable")[: 2 * CANDIDATES].tolist()
        if self.duplicates is Duplicates.DIFFLIB:
            wanted = guide_align.without_duplicates(ranked[:CANDIDATES], self.entries)[:SHOWN]
        else:
            wanted = without_duplicates(ranked[:CANDIDATES], self.entries, k=SHOWN)
        last = min(scores[position] for position in positions)
        return sum(position in positions or abs(scores[position] - last) <= _TIE for position in wanted) / len(wanted)

    def checked_recall(self, calls: Sequence[Sequence[str]], answers: Sequence[Sequence[Mapping[str, Any]]]) -> float:
        """Mean recall of all answers. Raises PeerError for the first that is none, and when too little is found."""
        shares = []
        for prompts, batch in zip(calls, answers, strict=False):
            if len(prompts) != len(batch):
                raise PeerError(f"{len(batch)} answers to {len(prompts)} prompts")
            for prompt, answer in zip(prompts, batch, strict=True):
                self.check(prompt, answer)
                shares.append(self.recall(prompt, answer["positions"]))
        recall = float(np.mean(shares))
        fewest = _FEWEST_OF_DIVERSE if self.duplicates is Duplicates.DIVERSITY else _FEWEST_OF_EXACT
        if recall < fewest:
            raise PeerError(f"wrong answers: only {recall:.1%} of what an exact search finds, less than {fewest:.0%}")
        return recall

    def check(self, prompt: str, answer: Mapping[str, Any]) -> None:
        """Raises PeerError unless it is a prompt with at most six different guidelines in its system message."""
        positions, messages = answer["positions"], answer["messages"]
        asked = f"answer to {prompt[:60]!r}"
        if not 1 <= len(positions) <= SHOWN or len(set(positions)) != len(positions):
            raise PeerError(f"{asked}: guidelines {positions}; it must hold 1 to {SHOWN}, all different")
        if not all(0 <= position < len(self.entries) for position in positions):
            raise PeerError(f"{asked}: guidelines {positions}; the library has {len(self.entries)}")
        if [message["role"] for message in messages] != ["system", "user"] or messages[1]["content"] != prompt:
            raise PeerError(f"{asked}: it must be a system message and the prompt as it was")
        shown = _plain(messages[0]["content"])
        missing = [position for position in positions if _plain(self.entries[position]) not in shown]
        if missing:
            raise PeerError(f"{asked}: the system message lacks guidelines {missing}")
        if self.duplicates is Duplicates.INDEL:
            kept = without_duplicates(positions, self.entries, k=SHOWN)
            if kept != list(positions):
                raise PeerError(f"{asked}: near-duplicates {sorted(set(positions) - set(kept))} were left in")


def quality(found: Sequence[Sequence[int]], relevant: Sequence[frozenset[int]]) -> float:
    """Mean share of the fitting guidelines among the six, of as many as six places can hold."""
    shares = [len(fit & set(six)) / min(SHOWN, len(fit)) for six, fit in zip(found, relevant, strict=True)]
    return float(np.mean(shares))


def _plain(text: str) -> str:
    """On one line, without the backslashes that keep a text from posing as the end of the block."""
    return " ".join(text.replace("\\", "").split())

"""What only vectors show: guidelines that no input finds, that too many find, that seem to contradict each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.offline.guidelines import meaning
from guidealign_engine.offline.guidelines.findings import Finding
from guidealign_engine.offline.guidelines.guideline_lines import GuidelineLine
from guidealign_engine.offline.guidelines.meaning import MeaningEncoder, MeaningMatches
from guidealign_engine.offline.guidelines.reach import Reach
from guidealign_engine.offline.guidelines.stance import Stance, opposite, tagged_stance, worded_stance

MEANING_RULES = frozenset({"contradiction", "unreached", "hub"})
_MOST_CONTRADICTIONS = 20
_FEWEST_GUIDELINES_PER_K = 5
# A hub of a small library, and of a large one.
_MOST_SHARE = 0.5
_LEAST_SHARE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class MeaningLimits:
    """From where on the rules find something."""

    likeness: float = 0.7
    """cosine of guidelines that may contradict each other"""
    k: int = 6
    """among how many an input finds a guideline"""
    hub_factor: float = 8.0
    """how many times as many inputs as on average find a hub"""
    most_examples: int = 20_000
    """examples that are searched for"""


def contradictions(lines: Sequence[GuidelineLine], encoder: MeaningEncoder, likeness: float) -> Iterator[Finding]:
    """The closest pairs of one kind with opposite stances."""
    entries = [line.record.entry for line in lines]
    known = np.flatnonzero(encoder.knows(entries)) if entries else np.empty(0, dtype=np.int64)
    stances = [tagged_stance(line.record.tags) or worded_stance(line.record.entry) for line in lines]

    def may_meet(later: NDArray[np.int64], earlier: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.array(
            [
                opposite(stances[one], stances[other]) and lines[one].record.kind == lines[other].record.kind
                for one, other in zip(later.tolist(), earlier.tolist(), strict=True)
            ],
            dtype=np.bool_,
        )

    matches = MeaningMatches(likeness)
    found = list[tuple[float, int, int]]()
    for start in range(0, len(known), meaning.BATCH):
        numbers = known[start : start + meaning.BATCH]
        vectors = encoder.embed([entries[number] for number in numbers])
        pairs = matches.pairs(vectors, numbers, may_meet)
        found += zip(pairs.ratios.tolist(), pairs.later.tolist(), pairs.earlier.tolist(), strict=True)
        matches.add(vectors, numbers)
    for cosine, later, earlier in sorted(found, reverse=True)[:_MOST_CONTRADICTIONS]:
        one, other = lines[later], lines[earlier]
        verb = "declines" if stances[later] is Stance.DECLINE else "helps"
        yield Finding.at(
            one, "contradiction", f"it {verb}, and {other.record.id!r} ({other.place}) does not; likeness {cosine:.2f}"
        )


def reach_findings(lines: Sequence[GuidelineLine], reach: Reach, limits: MeaningLimits) -> Iterator[Finding]:
    """Guidelines that no input finds, and those that too many find."""
    if reach.inputs:
        yield from _unreached(lines, reach, limits.k)
    yield from _hubs(lines, reach, limits)


def _unreached(lines: Sequence[GuidelineLine], reach: Reach, k: int) -> Iterator[Finding]:
    for place in np.flatnonzero(reach.found_by_own + reach.found_by_others == 0).tolist():
        if lines[place].record.examples and not reach.own[place]:
            # There were too many examples to ask for all of them.
            continue
        own = f"none of its {reach.own[place]} examples" if reach.own[place] else "it has no examples"
        message = (
            f"no input finds it among the first {k}: {own}, nor does one of {reach.inputs - reach.own[place]:,} others"
        )
        yield Finding.at(lines[place], "unreached", message)


def _hubs(lines: Sequence[GuidelineLine], reach: Reach, limits: MeaningLimits) -> Iterator[Finding]:
    if len(lines) < _FEWEST_GUIDELINES_PER_K * limits.k:
        # In a small library every guideline is among the first k for many an input.
        return
    others = np.maximum(reach.inputs - reach.own, 1)
    shares = reach.found_by_others / others
    limit = max(min(limits.hub_factor * limits.k / len(lines), _MOST_SHARE), _LEAST_SHARE)
    for place in np.flatnonzero(shares > limit).tolist():
        share = f"{reach.found_by_others[place]:,} of {others[place]:,} inputs that are not its own find it"
        yield Finding.at(lines[place], "hub", f"{share}; on average {shares.mean():.2%} do, and {limit:.2%} are many")

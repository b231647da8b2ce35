"""Which prompts get other guidelines from one library than from another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from guidealign_engine.query import Prompt
from guidealign_engine.results import Retrieval, RetrievedGuideline


@dataclass(frozen=True, slots=True)
class FoundGuideline:
    """One guideline of a set, in short."""

    id: str
    kind: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptChange:
    """A prompt whose set of guidelines is another one in B than in A."""

    prompt: Prompt
    came: tuple[FoundGuideline, ...]
    went: tuple[FoundGuideline, ...]
    kept: tuple[str, ...]
    jaccard: float
    """share of guidelines in both sets among those in either"""


@dataclass(slots=True)
class RetrievalDiff:
    """All prompts that were asked, and the changed ones in full."""

    prompts: int = 0
    reworded: int = 0
    """prompts with the same set of ids, in which a text has changed"""
    jaccard_sum: float = 0.0
    changes: list[PromptChange] = field(default_factory=list)

    @property
    def unchanged_share(self) -> float:
        return 1.0 if not self.prompts else (self.prompts - len(self.changes)) / self.prompts

    @property
    def mean_jaccard(self) -> float:
        return 1.0 if not self.prompts else self.jaccard_sum / self.prompts

    @property
    def is_empty(self) -> bool:
        return not (self.changes or self.reworded)

    def as_dict(self) -> dict[str, Any]:
        return {
            "prompts": self.prompts,
            "unchanged_share": round(self.unchanged_share, 4),
            "mean_jaccard": round(self.mean_jaccard, 4),
            "reworded": self.reworded,
            "changed": [asdict(change) for change in self.changes],
        }


AnsweredTwice = tuple[Sequence[Prompt], Iterable[Retrieval], Iterable[Retrieval]]
"""Prompts, and what A and what B found for each"""


def diff_retrievals(
    batches: Iterable[AnsweredTwice], report: Callable[[str], None] = lambda line: None
) -> RetrievalDiff:
    """Compares the sets of ids that A and B found; the order in a set does not count."""
    found = RetrievalDiff()
    for prompts, before, after in batches:
        for prompt, old, new in zip(prompts, before, after, strict=True):
            _add(found, prompt, old.guidelines, new.guidelines)
        report(f"  {found.prompts:,} prompts, {len(found.changes):,} with other guidelines")
    return found


def _add(
    found: RetrievalDiff, prompt: Prompt, old: Sequence[RetrievedGuideline], new: Sequence[RetrievedGuideline]
) -> None:
    before, after = {one.id: one for one in old}, {one.id: one for one in new}
    kept = tuple(id for id in after if id in before)
    either = len(before) + len(after) - len(kept)
    jaccard = len(kept) / either if either else 1.0
    found.prompts += 1
    found.jaccard_sum += jaccard
    if len(kept) == either:
        found.reworded += any((before[id].title, before[id].text) != (after[id].title, after[id].text) for id in kept)
        return
    change = PromptChange(
        prompt=prompt,
        came=tuple(_short(one) for id, one in after.items() if id not in before),
        went=tuple(_short(one) for id, one in before.items() if id not in after),
        kept=kept,
        jaccard=round(jaccard, 4),
    )
    found.changes.append(change)


def _short(guideline: RetrievedGuideline) -> FoundGuideline:
    return FoundGuideline(guideline.id, guideline.kind, guideline.title)

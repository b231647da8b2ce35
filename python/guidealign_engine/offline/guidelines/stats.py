"""What a library holds: counts, lengths, scripts, held-out inputs, by kind and category."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from guidealign_engine.config import Kind
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.offline.guidelines.categories import by_category
from guidealign_engine.offline.guidelines.held_out import HELD_OUT_SPLITS, HeldOut
from guidealign_engine.offline.guidelines.spread import Spread
from guidealign_engine.offline.guidelines.words import has_letters_beyond_ascii, script_of, words
from guidealign_engine.pairs import Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryStats:
    """One category of one kind; the last three are None where no pairs were given."""

    kind: str
    category: str
    guidelines: int
    examples: int
    mean_words: float
    held_out: dict[str, int] | None
    """split → inputs held out for its guidelines"""
    lacking: dict[str, int] | None
    """split → guidelines without an input in it"""
    complete: int | None
    """guidelines with an input in every split"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptStats:
    """What inputs are written in, roughly: by their letters, not by their language."""

    scripts: dict[str, int]
    """script of most letters → inputs, the commonest first"""
    beyond_ascii: float
    """share with a letter outside ASCII: most languages but English, and names and loan words"""
    beyond_latin: float
    """share of which most letters are not Latin"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryStats:
    """All that `guidealign library stats` tells of the library itself."""

    guidelines: int
    examples: int
    kinds: dict[str, int]
    categories: tuple[CategoryStats, ...]
    """kind by kind, the largest category first"""
    tags: dict[str, int]
    """the commonest first"""
    examples_per_guideline: dict[int, int]
    """examples → guidelines with so many, rising"""
    words_per_text: dict[int, int]
    """words → guidelines with a text of so many, rising"""
    lengths: dict[str, Spread]
    """words and characters of titles, texts and examples"""
    scripts: ScriptStats
    held_out: HeldOut | None

    def as_dict(self) -> dict[str, Any]:
        held_out = None if self.held_out is None else self.held_out.as_dict()
        return {**asdict(self), "held_out": held_out}


def measure_library(records: Sequence[GuidelineRecord], pairs: Sequence[Pair] | None = None) -> LibraryStats:
    """Counts all there is to count. pairs: None where held-out inputs are not to be looked at."""
    examples = [example for record in records for example in record.examples]
    held_out = None if pairs is None else HeldOut.of(records, pairs)
    tags = Counter(tag for record in records for tag in dict.fromkeys(record.tags))
    return LibraryStats(
        guidelines=len(records),
        examples=len(examples),
        kinds={str(kind): sum(record.kind == kind for record in records) for kind in Kind},
        categories=tuple(
            _category(kind, category, group, held_out) for (kind, category), group in by_category(records).items()
        ),
        tags=dict(sorted(tags.items(), key=lambda item: (-item[1], item[0]))),
        examples_per_guideline=_distribution(len(record.examples) for record in records),
        words_per_text=_distribution(len(words(record.text)) for record in records),
        lengths={
            **_lengths("title", [record.title for record in records]),
            **_lengths("text", [record.text for record in records]),
            **_lengths("example", examples),
        },
        scripts=_scripts(examples),
        held_out=held_out,
    )


def draw(records: Sequence[GuidelineRecord], count: int, *, seed: int) -> list[GuidelineRecord]:
    """So many guidelines drawn at random without replacement; all of them where there are no more."""
    return random.Random(seed).sample(records, min(count, len(records)))


def _category(kind: str, category: str, group: Sequence[GuidelineRecord], held_out: HeldOut | None) -> CategoryStats:
    counts: dict[str, list[int]] = {}
    if held_out is not None:
        counts = {split: [held_out.by_guideline[split][record.id] for record in group] for split in HELD_OUT_SPLITS}
    return CategoryStats(
        kind=kind,
        category=category,
        guidelines=len(group),
        examples=sum(len(record.examples) for record in group),
        mean_words=Spread.of([len(words(record.text)) for record in group]).mean,
        held_out={split: sum(row) for split, row in counts.items()} or None,
        lacking={split: row.count(0) for split, row in counts.items()} or None,
        complete=sum(all(row) for row in zip(*counts.values(), strict=True)) if counts else None,
    )


def _distribution(counts: Iterable[int]) -> dict[int, int]:
    return dict(sorted(Counter(counts).items()))


def _lengths(name: str, texts: Sequence[str]) -> dict[str, Spread]:
    return {
        f"{name}_words": Spread.of([len(words(text)) for text in texts]),
        f"{name}_characters": Spread.of([len(text) for text in texts]),
    }


def _scripts(texts: Sequence[str]) -> ScriptStats:
    scripts = Counter(map(script_of, texts))
    other = sum(count for script, count in scripts.items() if script not in ("Latin", "none"))
    whole = max(1, len(texts))
    return ScriptStats(
        scripts=dict(scripts.most_common()),
        beyond_ascii=round(sum(map(has_letters_beyond_ascii, texts)) / whole, 4),
        beyond_latin=round(other / whole, 4),
    )

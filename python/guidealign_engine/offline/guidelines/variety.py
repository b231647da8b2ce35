"""The proof that no text comes out of a template: figures by which a template would betray itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from guidealign_engine.library import GuidelineRecord
from guidealign_engine.offline.guidelines.categories import by_category
from guidealign_engine.offline.guidelines.text_pool import PlacedText, Report, TextPool, measure_pool
from guidealign_engine.offline.guidelines.word_variety import different_in_window, share
from guidealign_engine.offline.guidelines.words import words
from guidealign_engine.pairs import Pair

MAX_RATIO = 0.75
"""The Indel ratio from which two texts count as near-duplicates, as in the paper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryWords:
    """How rich the words of a category's texts are."""

    kind: str
    category: str
    guidelines: int
    words: int
    different: int
    ratio: float
    """different words as a share of all; falls with the number of words"""
    different_in_window: float | None
    """the same for 50 words in a row, which small and large categories can be compared by"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variety:
    """All that `guidealign library variety` tells."""

    max_ratio: float
    texts: TextPool
    """of the guidelines, without their titles"""
    inputs: TextPool
    """examples, and held-out inputs where they were given"""
    categories: tuple[CategoryWords, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "max_ratio": self.max_ratio,
            "texts": self.texts.as_dict(),
            "inputs": self.inputs.as_dict(),
            "categories": [asdict(category) for category in self.categories],
        }


def measure_variety(
    records: Sequence[GuidelineRecord],
    held_out: Sequence[Pair] = (),
    *,
    max_ratio: float = MAX_RATIO,
    report: Report = lambda line: None,
) -> Variety:
    """Compares all texts with each other, and all inputs with each other."""
    texts = [PlacedText(record.id, record.text) for record in records]
    inputs = [PlacedText(record.id, example) for record in records for example in record.examples]
    inputs += [PlacedText(_place(pair), pair.input) for pair in held_out]
    return Variety(
        max_ratio=max_ratio,
        texts=measure_pool("texts", texts, max_ratio, report),
        inputs=measure_pool("inputs", inputs, max_ratio, report),
        categories=tuple(
            _category_words(kind, category, group) for (kind, category), group in by_category(records).items()
        ),
    )


def _place(pair: Pair) -> str:
    return f"{pair.split} of {', '.join(pair.positive) or 'no guideline'}"


def _category_words(kind: str, category: str, group: Sequence[GuidelineRecord]) -> CategoryWords:
    spoken = [word for record in group for word in words(record.text)]
    different = len(set(spoken))
    return CategoryWords(
        kind=kind,
        category=category,
        guidelines=len(group),
        words=len(spoken),
        different=different,
        ratio=share(different, len(spoken)),
        different_in_window=different_in_window(spoken),
    )

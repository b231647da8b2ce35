"""How rich the words of texts are: runs that come again, common openings, different words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from guidealign_engine.offline.guidelines.skeletons import shared_skeletons

WINDOW = 50
"""Words in a row among which different ones are counted; over all words of a library the share falls with its size."""

_GRAM = 4
_LISTED = 10

Words = Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """The share of texts that have something in common, and what is commonest, with its number of texts."""

    share: float
    commonest: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grams:
    """Runs of four words."""

    distinct: float
    """different ones as a share of all; 1 where none comes twice"""
    repeated: dict[str, int]


def measure_grams(texts: Sequence[Words]) -> Grams:
    counts = Counter(gram for text in texts for gram in _grams(text))
    repeated = Counter({" ".join(gram): count for gram, count in counts.items() if count > 1})
    return Grams(distinct=share(len(counts), counts.total(), empty=1.0), repeated=_commonest(repeated))


def measure_openings(texts: Sequence[Words], count: int) -> Shared:
    """The share that the commonest first words have among the texts with so many words."""
    openings = Counter(" ".join(text[:count]) for text in texts if len(text) >= count)
    highest = max(openings.values(), default=0)
    return Shared(share=share(highest, openings.total()), commonest=_commonest(openings))


def measure_skeletons(texts: Sequence[str]) -> Shared:
    """The share of texts of which a piece has the same skeleton as a piece of another text."""
    shared = shared_skeletons(texts)
    sharing = {position for positions in shared.values() for position in positions}
    counts = Counter({skeleton: len(positions) for skeleton, positions in shared.items()})
    return Shared(share=share(len(sharing), len(texts)), commonest=_commonest(counts))


def different_in_window(spoken: Words) -> float | None:
    """The share of different words among WINDOW in a row, on average; None where there are not so many."""
    if len(spoken) < WINDOW:
        return None
    inside = Counter(spoken[:WINDOW])
    total, windows = len(inside), 1
    for leaving, entering in zip(spoken, spoken[WINDOW:], strict=False):
        inside[entering] += 1
        inside[leaving] -= 1
        if not inside[leaving]:
            del inside[leaving]
        total, windows = total + len(inside), windows + 1
    return round(total / windows / WINDOW, 4)


def share(part: int, whole: int, *, empty: float = 0.0) -> float:
    """Rounded to four digits; `empty` where there is no whole."""
    return round(part / whole, 4) if whole else empty


def _grams(text: Words) -> Iterator[tuple[str, ...]]:
    return zip(*(text[start:] for start in range(_GRAM)), strict=False)


def _commonest(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_LISTED])

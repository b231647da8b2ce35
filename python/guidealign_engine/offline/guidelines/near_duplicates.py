"""Texts that are nearly the same, by Indel ratio: found by min-hashes, decided by comparing the texts themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.config import check_range
from guidealign_engine.offline.guidelines.band_table import BandTable, band_keys
from guidealign_engine.offline.guidelines.shingles import min_hashes
from guidealign_engine.optional_packages import import_optional

DEFAULT_RATIO = 0.75
LOWEST_RATIO = 0.7
"""Below it texts share so few pieces that many pairs would not be found."""
BATCH = 2048
_PAIRS_AT_ONCE = 1 << 18

MayMeet = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of texts that are alike; a batch's later texts in order."""

    later: NDArray[np.int64]
    earlier: NDArray[np.int64]
    ratios: NDArray[np.float64]
    """Indel ratio or cosine, 1 for equal texts"""


class NearDuplicates:
    """Remembers texts, and finds those among them that new ones are near-duplicates of."""

    def __init__(self, ratio: float = DEFAULT_RATIO) -> None:
        """Raises ConfigError for a ratio below 0.7, at which min-hashes would miss many, or above 1."""
        check_range("ratio", ratio, LOWEST_RATIO, 1.0)
        import_optional("rapidfuzz", package="rapidfuzz", extra="offline", purpose="finding near-duplicates")
        self.ratio = ratio
        self._texts = dict[int, str]()
        self._table = BandTable()

    def numbers(self) -> list[int]:
        """What was added."""
        return list(self._texts)

    def add(self, texts: Sequence[str], keys: NDArray[np.uint64], numbers: NDArray[np.int64]) -> None:
        """numbers: what `pairs` is to call the texts, rising, and above all that were added before."""
        self._texts.update(zip(numbers.tolist(), texts, strict=True))
        self._table.add(keys, numbers)

    def pairs(
        self,
        texts: Sequence[str],
        keys: NDArray[np.uint64],
        numbers: NDArray[np.int64],
        may_meet: MayMeet | None = None,
        *,
        likeliest: int | None = None,
    ) -> Pairs:
        """Each of the texts with the remembered ones of a lower number that it is a near-duplicate of.

        may_meet: which pairs of numbers count at all, bool (pairs); None for all.
        likeliest: compares a text with so many first, and with the others only if it is like none of those. None gives
        all pairs.
        """
        found = self._table.candidates(keys)
        wanted = found.owners < numbers[found.rows]
        if may_meet is not None:
            wanted &= may_meet(numbers[found.rows], found.owners)
        rows, owners = found.rows[wanted], found.owners[wanted]
        ratios = np.zeros(len(rows))
        first = np.ones(len(rows), dtype=np.bool_) if likeliest is None else _rank_in_row(rows) < likeliest
        self._compare(texts, rows, owners, ratios, first)
        settled = np.isin(rows, rows[ratios > 0])
        self._compare(texts, rows, owners, ratios, ~first & ~settled)
        alike = ratios > 0
        return Pairs(numbers[rows[alike]], owners[alike], ratios[alike])

    def _compare(
        self,
        texts: Sequence[str],
        rows: NDArray[np.int64],
        owners: NDArray[np.int64],
        ratios: NDArray[np.float64],
        chosen: NDArray[np.bool_],
    ) -> None:
        """Fills in the ratios of the chosen pairs, 0 where they are too low."""
        places = np.flatnonzero(chosen)
        for start in range(0, len(places), _PAIRS_AT_ONCE):
            part = places[start : start + _PAIRS_AT_ONCE]
            left = [texts[row] for row in rows[part].tolist()]
            right = [self._texts[owner] for owner in owners[part].tolist()]
            ratios[part] = _indel_ratios(left, right, self.ratio)


def text_keys(texts: Sequence[str]) -> NDArray[np.uint64]:
    """What `NearDuplicates` files texts under."""
    return band_keys(min_hashes(texts))


def similar_pairs(
    texts: Sequence[str], ratio: float = DEFAULT_RATIO, report: Callable[[int], None] = lambda done: None
) -> Iterator[Pairs]:
    """All pairs of near-duplicates, a batch of texts at a time; numbers are places in `texts`."""
    remembered = NearDuplicates(ratio)
    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH]
        numbers = np.arange(start, start + len(batch))
        keys = text_keys(batch)
        remembered.add(batch, keys, numbers)
        yield remembered.pairs(batch, keys, numbers)
        report(start + len(batch))


def _indel_ratios(left: Sequence[str], right: Sequence[str], lowest: float) -> NDArray[np.float64]:
    """The ratio of each pair, 0 where it is below the lowest."""
    from rapidfuzz.distance import Indel
    from rapidfuzz.process import cpdist

    ratios: NDArray[np.float64] = cpdist(
        left, right, scorer=Indel.normalized_similarity, score_cutoff=lowest, dtype=np.float64, workers=2
    )
    return ratios


def _rank_in_row(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 for the first pair of each row, then 1 and so on; pairs of a row stand together."""
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    return np.arange(len(rows)) - np.repeat(starts, np.diff(starts, append=len(rows)))

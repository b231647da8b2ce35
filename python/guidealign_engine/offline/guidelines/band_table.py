"""Finds texts that agree in some bands of min-hashes, among many that were added before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.errors import ConfigError
from guidealign_engine.offline.guidelines.shingles import HASHES

# Texts with an Indel ratio of 0.75 share two fifths of their pieces and more, unrelated ones four in a hundred. With
# three hashes a band, two equal bands of 128 are expected for all but 1 in 5,000 of the former, and for 1 in 700 of
# the latter, which comparing the texts themselves then drops.
BANDS = 128
_HASHES_PER_BAND = 3
_FEWEST_EQUAL = 2
# A key is the band's number, a hash of its min-hashes, and the owner.
_OWNER_BITS = 24
_HASH_BITS = 33
_MOST_OWNERS = 1 << _OWNER_BITS
_OWNER_MASK = np.uint64(_MOST_OWNERS - 1)
_MIX = np.uint64(0x9E3779B97F4A7C15)
# Fresh keys are kept apart, so that not every batch sorts them all anew.
_FRESH_SHARE = 4
_FEWEST_FRESH = 1 << 18
_HITS_AT_ONCE = 1 << 23


@dataclass(frozen=True, slots=True)
class Candidates:
    """Pairs of a row that was asked for and an owner that was added: by row, those that agree most, then by owner."""

    rows: NDArray[np.int64]
    owners: NDArray[np.int64]


class BandTable:
    """Sorted keys of all texts added; a kilobyte a text."""

    def __init__(self) -> None:
        self._old = np.empty(0, dtype=np.uint64)
        self._fresh = np.empty(0, dtype=np.uint64)

    def add(self, keys: NDArray[np.uint64], owners: NDArray[np.int64]) -> None:
        """keys: uint64 (texts, BANDS) from `band_keys`; owners: their numbers, below 2^24, each added once.

        Raises ConfigError for a number that is too high.
        """
        if len(owners) and owners.max() >= _MOST_OWNERS:
            raise ConfigError(f"there are over {_MOST_OWNERS:,} texts, more than can be told apart; merge a part first")
        added = np.sort((keys | owners.astype(np.uint64)[:, None]).ravel())
        # Two sorted runs: the stable sort merges them.
        self._fresh = np.sort(np.concatenate([self._fresh, added]), kind="stable")
        if len(self._fresh) > max(_FEWEST_FRESH, len(self._old) // _FRESH_SHARE):
            self._old = np.sort(np.concatenate([self._old, self._fresh]), kind="stable")
            self._fresh = self._fresh[:0]

    def candidates(self, keys: NDArray[np.uint64]) -> Candidates:
        """Owners that agree with a row in two bands at least."""
        asked = keys.ravel()
        order = np.argsort(asked)
        rows, asked = order // BANDS, asked[order]
        found = [_agreeing(rows, asked, part) for part in (self._old, self._fresh)]
        pairs, bands = (np.concatenate(each) for each in zip(*found, strict=True))
        rows, owners = pairs >> _OWNER_BITS, pairs & (_MOST_OWNERS - 1)
        order = np.lexsort((owners, -bands, rows))
        return Candidates(rows[order], owners[order])


def band_keys(hashes: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """A key for each band of a text, with room for its owner, uint64 (texts, BANDS)."""
    # Every hash is in two bands, beside others each time.
    random = np.random.default_rng(0xBA2D)
    places = np.concatenate([random.permutation(HASHES) for _ in range(BANDS * _HASHES_PER_BAND // HASHES)])
    keys = np.empty((len(hashes), BANDS), dtype=np.uint64)
    for band, members in enumerate(places.reshape(BANDS, _HASHES_PER_BAND)):
        mixed = np.zeros(len(hashes), dtype=np.uint64)
        for member in members:
            mixed = (mixed ^ hashes[:, member]) * _MIX
            mixed ^= mixed >> np.uint64(32)
        number = np.uint64(band) << np.uint64(_OWNER_BITS + _HASH_BITS)
        keys[:, band] = number | ((mixed >> np.uint64(64 - _HASH_BITS)) << np.uint64(_OWNER_BITS))
    return keys


def _agreeing(
    rows: NDArray[np.int64], asked: NDArray[np.uint64], keys: NDArray[np.uint64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs that agree in enough bands, each as row << _OWNER_BITS | owner, and in how many."""
    first = np.searchsorted(keys, asked)
    hits = np.searchsorted(keys, asked + _OWNER_MASK, side="right") - first
    if hits.sum() <= _HITS_AT_ONCE:
        return _often(rows, first, hits, keys)
    # A part of the rows at a time, so that many equal texts cost time and not memory.
    by_row = np.cumsum(np.bincount(rows, weights=hits))
    parts = (by_row // _HITS_AT_ONCE)[rows]
    chosen = [np.flatnonzero(parts == part) for part in np.unique(parts)]
    found = [_often(rows[part], first[part], hits[part], keys) for part in chosen]
    return np.concatenate([pairs for pairs, _ in found]), np.concatenate([bands for _, bands in found])


def _often(
    rows: NDArray[np.int64], first: NDArray[np.int64], hits: NDArray[np.int64], keys: NDArray[np.uint64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    before = np.cumsum(hits) - hits
    places = np.arange(hits.sum()) + np.repeat(first - before, hits)
    owners = (keys[places] & _OWNER_MASK).astype(np.int64)
    pairs = np.sort((np.repeat(rows, hits) << _OWNER_BITS) | owners)
    starts = np.flatnonzero(np.diff(pairs, prepend=-1))
    bands = np.diff(starts, append=len(pairs))
    often = bands >= _FEWEST_EQUAL
    return pairs[starts[often]], bands[often]

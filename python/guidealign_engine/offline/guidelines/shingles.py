"""Texts as sets of short pieces, and min-hashes by which sets can be compared without reading them again.

Two texts agree in a min-hash as often as their sets overlap: the share of pieces in both among those in either.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

HASHES = 192
# In Chinese, Japanese and Korean each character is a piece: they say as much as letters of other scripts do in fours.
_LENGTH = 4
_DENSE_LENGTH = 1
_DENSE_FROM, _DENSE_TO = 0x2E80, 0xFB00
_TEXTS_AT_ONCE = 256
_MIX = np.uint64(0x9E3779B97F4A7C15)
_MIX_AGAIN = np.uint64(0xBF58476D1CE4E5B9)
_HALF = np.uint64(32)


def min_hashes(texts: Sequence[str]) -> NDArray[np.uint32]:
    """The same for the same text on every machine, uint32 (texts, HASHES)."""
    random = np.random.default_rng(0x6A11)
    factors = random.integers(1 << 63, size=HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    shifts = random.integers(1 << 63, size=HASHES, dtype=np.uint64)
    hashes = np.empty((len(texts), HASHES), dtype=np.uint32)
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        pieces, starts = _pieces(texts[start : start + _TEXTS_AT_ONCE])
        for number in range(HASHES):
            # The upper half of a x + b is a hash of x, drawn anew by every a and b.
            hashed = pieces * factors[number]
            hashed += shifts[number]
            hashed >>= _HALF
            hashes[start : start + _TEXTS_AT_ONCE, number] = np.minimum.reduceat(hashed, starts)
    return hashes


def _pieces(texts: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """A number for the piece that starts at each character, and where the pieces of each text begin.

    The last pieces of a text reach into the padding behind it, so that a short text has some as well.
    """
    padding = "\0" * _LENGTH
    joined = padding.join([*texts, ""])
    points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    whole = len(points) - _LENGTH + 1
    numbers = np.zeros(whole, dtype=np.uint64)
    dense = (points[:whole] >= _DENSE_FROM) & (points[:whole] < _DENSE_TO)
    for place in range(_LENGTH):
        added = numbers * _MIX + points[place : place + whole]
        numbers = added if place < _DENSE_LENGTH else np.where(dense, numbers, added)
    numbers ^= numbers >> np.uint64(29)
    numbers *= _MIX_AGAIN
    numbers >>= _HALF
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths + len(padding))[:-1]])
    # An empty text has the padding for a piece.
    sizes = np.maximum(lengths, 1)
    firsts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    inside = np.arange(sizes.sum()) + np.repeat(starts - firsts, sizes)
    return numbers[inside], firsts

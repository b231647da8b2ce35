"""The few shapes that a GPU computes, so that each can be recorded once and replayed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.batches import TokenBatch

BATCHES = (1, 8, 64, 256)
LENGTHS = (16, 32, 64, 256, 512)
_MOST_TOKENS = 1 << 15


@dataclass(frozen=True, slots=True, order=True)
class Bucket:
    """Texts and tokens that a run takes; what a batch does not fill is padding."""

    texts: int
    length: int


@dataclass(frozen=True, slots=True)
class Buckets:
    """All shapes of an encoder."""

    batches: Sequence[int] = BATCHES
    lengths: Sequence[int] = LENGTHS

    @classmethod
    def up_to(cls, max_tokens: int) -> Buckets:
        """Those that texts of at most so many tokens need."""
        shorter = [length for length in LENGTHS if length < max_tokens]
        return cls(BATCHES, (*shorter, next((length for length in LENGTHS if length >= max_tokens), max_tokens)))

    def all(self) -> list[Bucket]:
        return [
            Bucket(texts, length)
            for length in self.lengths
            for texts in self.batches
            if texts * length <= _MOST_TOKENS or texts == self.batches[0]
        ]

    def fitting(self, texts: int, length: int) -> Bucket:
        """The smallest that holds so many texts of this length. Raises ValueError when none does."""
        rows = next((size for size in self.batches if size >= texts), None)
        columns = next((size for size in self.lengths if size >= length), None)
        if rows is None or columns is None or texts > self._most_texts(columns):
            raise ValueError(f"no bucket holds {texts} texts of {length} tokens")
        return Bucket(rows, columns)

    def parts(self, tokens: TokenBatch) -> Iterator[tuple[NDArray[np.int64], Bucket]]:
        """The texts of a batch, each once, by the bucket that they are computed in.

        A batch that fits into one bucket keeps its order; a larger one is taken by length, so that little is padded.
        """
        if not len(tokens):
            return
        lengths = np.maximum(tokens.lengths, 1)
        count, longest = len(tokens), int(lengths.max())
        if count <= self._most_texts(self._column(longest)):
            yield np.arange(count), self.fitting(count, longest)
            return
        order = np.argsort(lengths, kind="stable")
        for begin, end in pairwise(self._cuts(lengths[order])):
            yield order[begin:end], self.fitting(end - begin, int(lengths[order[end - 1]]))

    def _cuts(self, ascending: NDArray[np.int64]) -> list[int]:
        cuts = [0]
        while cuts[-1] < len(ascending):
            begin = cuts[-1]
            end = begin + 1
            for most in self.batches[::-1]:
                end = min(begin + most, len(ascending))
                if end - begin <= self._most_texts(self._column(int(ascending[end - 1]))):
                    break
            cuts.append(end)
        return cuts

    def _column(self, length: int) -> int:
        column = next((size for size in self.lengths if size >= length), None)
        if column is None:
            raise ValueError(f"no bucket holds a text of {length} tokens")
        return column

    def _most_texts(self, length: int) -> int:
        return max(size for size in self.batches if size * length <= _MOST_TOKENS or size == self.batches[0])


def padded(tokens: TokenBatch, rows: NDArray[np.int64], bucket: Bucket) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Token ids of these texts and 1 for those that are no padding, both int64 (bucket.texts, bucket.length)."""
    starts, lengths = tokens.offsets[rows], tokens.lengths[rows]
    is_token = np.zeros((bucket.texts, bucket.length), dtype=bool)
    is_token[: len(rows)] = np.arange(bucket.length) < lengths[:, None]
    places = (starts[:, None] + np.arange(bucket.length))[is_token[: len(rows)]]
    ids = np.zeros(is_token.shape, dtype=np.int64)
    ids[is_token] = tokens.ids[places]
    return ids, is_token.astype(np.int64)

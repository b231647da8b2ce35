"""Token ids of many texts, in padded batches of like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

_WINDOW = 40
"""Batches' worth of texts that are sorted by length together: little padding, and still another order each epoch."""


class TokenRows:
    """Ids of each text without markers, at most `max_tokens`; padding has id 0."""

    def __init__(self, tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> None:
        encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        self._ids = [np.asarray(encoding.ids[:max_tokens], dtype=np.int64) for encoding in encodings]
        self.lengths = np.array([len(row) for row in self._ids])

    def padded(self, rows: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask, int64 (rows, longest)."""
        longest = max(1, int(self.lengths[rows].max()))
        ids = np.zeros((len(rows), longest), dtype=np.int64)
        mask = np.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : self.lengths[row]] = self._ids[row]
            mask[place, : self.lengths[row]] = 1
        return torch.from_numpy(ids), torch.from_numpy(mask)

    def batches(
        self, rows: NDArray[np.int64], rng: np.random.Generator, batch_size: int, tokens_per_batch: int
    ) -> list[NDArray[np.int64]]:
        """Each row once: at most `batch_size` rows and, padding included, `tokens_per_batch` ids a batch."""
        order = rng.permutation(rows)
        batches = []
        for start in range(0, len(order), batch_size * _WINDOW):
            window = order[start : start + batch_size * _WINDOW]
            window = window[np.argsort(self.lengths[window], kind="stable")]
            batches += list(self._cut(window, batch_size, tokens_per_batch))
        return [batches[place] for place in rng.permutation(len(batches))]

    def _cut(self, rows: NDArray[np.int64], batch_size: int, tokens_per_batch: int) -> Iterator[NDArray[np.int64]]:
        """Rows are in order of length, so the last of a batch is its longest."""
        start = 0
        for end in range(1, len(rows) + 1):
            full = end - start == batch_size
            if end < len(rows) and not full:
                full = (end - start + 1) * self.lengths[rows[end]] > tokens_per_batch
            if full or end == len(rows):
                yield rows[start:end]
                start = end

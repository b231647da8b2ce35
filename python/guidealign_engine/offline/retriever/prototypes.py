"""Guidelines as a bundle holds them, kept up while the encoder that makes them is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from guidealign_engine.building import EXAMPLES_WEIGHT
from guidealign_engine.offline.retriever.training_device import CPU


class Prototypes:
    """Each guideline's entry and the mean of its inputs, as far as they were seen.

    Inputs keep the vector that they had when they were last seen (cross-batch memory, Wang et al., 2020).
    """

    def __init__(
        self, guidelines_of: Sequence[Sequence[int]], guidelines: int, dimension: int, device: torch.device = CPU
    ) -> None:
        self._guidelines_of = guidelines_of
        self._device = device
        self._vectors = torch.zeros(len(guidelines_of), dimension, device=device)
        self._seen = torch.zeros(len(guidelines_of), device=device)
        self._sums = torch.zeros(guidelines, dimension, device=device)
        self._counts = torch.zeros(guidelines, device=device)

    def scores(self, queries: torch.Tensor, entries: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """Cosine of each query with each prototype, (queries, guidelines).

        queries: those of inputs `rows`, each of which is left out of the prototypes that it is compared with.
        entries: unit vectors of the guidelines, (guidelines, dimension).
        """
        scores = queries @ _folded(entries, self._sums, self._counts).T
        places, own, left_out = self._pairs(rows)
        sums = self._sums[own] - self._vectors[left_out]
        without = _folded(entries[own], sums, self._counts[own] - self._seen[left_out])
        return scores.index_put((places, own), (queries[places] * without).sum(dim=1))

    def keep(self, rows: Sequence[int], vectors: torch.Tensor) -> None:
        """Unit vectors of inputs `rows`, each of which occurs once, from now on."""
        places, own, before = self._pairs(rows)
        self._sums.index_add_(0, own, vectors[places] - self._vectors[before])
        self._counts.index_add_(0, own, 1.0 - self._seen[before])
        kept = torch.tensor(rows, dtype=torch.long, device=self._device)
        self._vectors[kept] = vectors
        self._seen[kept] = 1.0

    def state(self) -> dict[str, torch.Tensor]:
        """What a checkpoint has to hold of it."""
        return {"vectors": self._vectors, "sums": self._sums, "counts": self._counts, "seen": self._seen}

    def resume(self, state: Mapping[str, torch.Tensor]) -> None:
        self._vectors, self._sums = state["vectors"].to(self._device), state["sums"].to(self._device)
        self._counts, self._seen = state["counts"].to(self._device), state["seen"].to(self._device)

    def _pairs(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Each input with each of its guidelines: the input's place in `rows`, the guideline, the input's row."""
        pairs = [(place, own, row) for place, row in enumerate(rows) for own in self._guidelines_of[row]]
        table = torch.tensor(pairs, dtype=torch.long, device=self._device).reshape(-1, 3)
        return table[:, 0], table[:, 1], table[:, 2]


def _folded(entries: torch.Tensor, sums: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Unit vectors, (guidelines, dimension): the entry and the direction of the inputs' mean, weighted."""
    inputs = nn.functional.normalize(sums, dim=1) * (counts > 0.5)[:, None]
    return nn.functional.normalize(entries + EXAMPLES_WEIGHT * inputs, dim=1)

"""Guidelines as a bundle holds them, kept up while the encoder that makes them is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from guidealign_engine.building import EXAMPLES_WEIGHT


class Prototypes:
    """Each guideline's entry and the mean of its inputs, as far as they were seen.

    Inputs keep the vector that they had when they were last seen (cross-batch memory, Wang et al., 2020).
    """

    def __init__(self, guidelines_of: Sequence[Sequence[int]], guidelines: int, dimension: int) -> None:
        self._guidelines_of = guidelines_of
        self._vectors = torch.zeros(len(guidelines_of), dimension)
        self._seen = torch.zeros(len(guidelines_of))
        self._sums = torch.zeros(guidelines, dimension)
        self._counts = torch.zeros(guidelines)

    def scores(self, queries: torch.Tensor, entries: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """Cosine of each query with each prototype, (queries, guidelines).

        queries: those of inputs `rows`, each of which is left out of the prototypes that it is compared with.
        entries: unit vectors of the guidelines, (guidelines, dimension).
        """
        scores = queries @ _folded(entries, self._sums, self._counts).T
        places, own, left_out = [], [], []
        for place, row in enumerate(rows):
            for guideline in self._guidelines_of[row]:
                places.append(place)
                own.append(guideline)
                left_out.append(row)
        sums = self._sums[own] - self._vectors[left_out]
        without = _folded(entries[own], sums, self._counts[own] - self._seen[left_out])
        return scores.index_put((torch.tensor(places), torch.tensor(own)), (queries[places] * without).sum(dim=1))

    def keep(self, rows: Sequence[int], vectors: torch.Tensor) -> None:
        """Unit vectors of inputs `rows`, from now on."""
        for row, vector in zip(rows, vectors, strict=True):
            guidelines = list(self._guidelines_of[row])
            self._sums[guidelines] += vector - self._vectors[row]
            self._counts[guidelines] += 1.0 - self._seen[row]
            self._vectors[row] = vector
            self._seen[row] = 1.0

    def state(self) -> dict[str, torch.Tensor]:
        """What a checkpoint has to hold of it."""
        return {"vectors": self._vectors, "sums": self._sums, "counts": self._counts, "seen": self._seen}

    def resume(self, state: Mapping[str, torch.Tensor]) -> None:
        self._vectors, self._sums = state["vectors"], state["sums"]
        self._counts, self._seen = state["counts"], state["seen"]


def _folded(entries: torch.Tensor, sums: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Unit vectors, (guidelines, dimension): the entry and the direction of the inputs' mean, weighted."""
    inputs = nn.functional.normalize(sums, dim=1) * (counts > 0.5)[:, None]
    return nn.functional.normalize(entries + EXAMPLES_WEIGHT * inputs, dim=1)

"""Losses that pull an input to a guideline that fits it and push it from those that do not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import nn

_OUT = -1e4


class Loss(StrEnum):
    """What an input's guideline is compared with."""

    LIBRARY = "library"
    """Cross entropy over every guideline: all that are no positive are negatives."""
    HARD = "hard"
    """Cross entropy over the negatives that the current model ranks highest."""
    IN_BATCH = "in-batch"
    """Cross entropy over the guidelines of the batch (multiple negatives ranking, Henderson et al., 2017)."""
    MARGIN = "margin"
    """How far the highest ranked negatives come within a margin (triplet loss, Schroff et al., 2015)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A loss over cosines (inputs, guidelines), and its settings."""

    loss: Loss = Loss.LIBRARY
    temperature: float = 0.05
    hard_negatives: int = 32
    margin: float = 0.2

    def __call__(self, scores: torch.Tensor, chosen: torch.Tensor, no_negative: torch.Tensor) -> torch.Tensor:
        """Mean loss of the inputs.

        chosen: int64 (inputs), the guideline that each is to find. no_negative: bool (inputs, guidelines), true for
        others that fit as well, which must not be pushed away.
        """
        own = torch.zeros_like(no_negative)
        own.scatter_(1, chosen[:, None], True)
        negatives = ~no_negative & ~own
        if self.loss is Loss.IN_BATCH:
            of_batch = torch.zeros(scores.shape[1], dtype=torch.bool, device=scores.device)
            of_batch[chosen] = True
            negatives &= of_batch
        if self.loss in (Loss.HARD, Loss.MARGIN):
            negatives = self._hardest(scores, negatives)
        if self.loss is Loss.MARGIN:
            gaps = self.margin + scores - scores.gather(1, chosen[:, None])
            return (nn.functional.relu(gaps) * negatives).sum() / negatives.sum().clamp(min=1)
        kept = (scores / self.temperature).masked_fill(~(negatives | own), _OUT)
        return nn.functional.cross_entropy(kept, chosen)

    def _hardest(self, scores: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        count = min(self.hard_negatives, scores.shape[1])
        highest = scores.detach().masked_fill(~negatives, _OUT).topk(count, dim=1).indices
        return torch.zeros_like(negatives).scatter_(1, highest, True) & negatives


def shortened(vectors: torch.Tensor, dimension: int) -> torch.Tensor:
    """The first elements as unit vectors, as Matryoshka representations are read (Kusupati et al., 2022)."""
    return nn.functional.normalize(vectors[:, :dimension], dim=1)

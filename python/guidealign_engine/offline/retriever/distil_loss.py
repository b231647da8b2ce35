"""What a student is taught: the teacher's vectors, its ranking of a library, and which guideline fits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilWeights:
    """What each part of the loss weighs, and the temperature of the distribution over the library."""

    similarity_weight: float = 20.0
    library_weight: float = 0.3
    pair_weight: float = 0.2
    temperature: float = 0.05


def distil_loss(
    student: torch.Tensor,
    teacher: torch.Tensor,
    weights: DistilWeights,
    guidelines: torch.Tensor | None = None,
    labels: torch.Tensor | None = None,
) -> torch.Tensor:
    """student, teacher: unit vectors (texts, dimension); guidelines: (guidelines, dimension); labels: -1 for unknown.

    The cosine to the teacher's vector and the squared error of all similarities inside the batch; with a library also
    the divergence from the teacher's distribution over it, and the cross entropy of the guidelines that are known.
    """
    cosine = 1.0 - (student * teacher).sum(dim=1).mean()
    similarity = nn.functional.mse_loss(student @ student.T, teacher @ teacher.T)
    crossed = nn.functional.mse_loss(student @ teacher.T, teacher @ teacher.T)
    loss = cosine + weights.similarity_weight * (similarity + crossed)
    if guidelines is None or labels is None:
        return loss
    wanted = nn.functional.log_softmax(teacher @ guidelines.T / weights.temperature, dim=1)
    found = nn.functional.log_softmax(student @ guidelines.T / weights.temperature, dim=1)
    loss = loss + weights.library_weight * nn.functional.kl_div(found, wanted, log_target=True, reduction="batchmean")
    known = labels >= 0
    if known.any():
        loss = loss + weights.pair_weight * nn.functional.nll_loss(found[known], labels[known])
    return loss

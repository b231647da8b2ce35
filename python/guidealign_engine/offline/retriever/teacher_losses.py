"""The three losses of a teacher, over vectors that lie on one device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from guidealign_engine.offline.guidelines.near_duplicates import similar_pairs
from guidealign_engine.offline.retriever.contrast import shortened
from guidealign_engine.offline.retriever.prototypes import Prototypes
from guidealign_engine.offline.retriever.teacher_config import TeacherConfig, TrainingInput
from guidealign_engine.offline.retriever.teacher_steps import TeacherStep


@dataclass(frozen=True, slots=True)
class Targets:
    """Which guideline each input of a step is to find, and which others are none of its negatives."""

    chosen: torch.Tensor
    """int64 (inputs)"""
    drawn: torch.Tensor
    """int64 (drawn): the inputs whose chosen guidelines are encoded with a gradient."""
    encoded: list[int]
    """These guidelines"""
    fitting: torch.Tensor
    """bool (inputs, guidelines)"""

    @classmethod
    def of(
        cls,
        inputs: Sequence[TrainingInput],
        near_copies: Sequence[Sequence[int]],
        guidelines_per_step: int,
        rng: np.random.Generator,
        device: torch.device,
    ) -> Targets:
        chosen = [int(rng.choice(each.guidelines)) for each in inputs]
        drawn = rng.permutation(len(chosen))[:guidelines_per_step].tolist()
        fitting = torch.zeros((len(inputs), len(near_copies)), dtype=torch.bool)
        for row, each in enumerate(inputs):
            for guideline in each.guidelines:
                fitting[row, near_copies[guideline]] = True
        return cls(
            torch.tensor(chosen, device=device),
            torch.tensor(drawn, device=device),
            [chosen[place] for place in drawn],
            fitting.to(device),
        )


def contrast_loss(
    queries: torch.Tensor,
    guidelines: torch.Tensor,
    bank: torch.Tensor,
    targets: Targets,
    rows: Sequence[int],
    prototypes: Prototypes,
    config: TeacherConfig,
) -> torch.Tensor:
    """Pulls inputs to their guidelines and to these guidelines' prototypes; `prototypes` keep the queries.

    queries: (inputs, dimension) of inputs `rows`; guidelines: (drawn, dimension), with a gradient; bank: (guidelines,
    dimension), without one.
    """
    chosen, drawn, fitting = targets.chosen, targets.drawn, targets.fitting
    bank = bank.clone()
    bank[chosen[drawn]] = guidelines
    loss = torch.stack(
        [
            config.contrast(shortened(queries, size) @ shortened(bank, size).T, chosen, fitting)
            for size in (bank.shape[1], *config.dimensions)
        ]
    ).mean()
    if config.prototype_weight:
        scores = prototypes.scores(queries, bank, rows)
        loss = loss + config.prototype_weight * config.contrast(scores, chosen, fitting)
        prototypes.keep(rows, queries.detach())
    # From the guideline's side only the inputs of the batch are at hand.
    backwards = guidelines @ queries.T / config.contrast.temperature
    same = fitting[:, chosen[drawn]].T.scatter(1, drawn[:, None], False)
    return loss + config.guideline_weight * nn.functional.cross_entropy(backwards.masked_fill(same, -1e4), drawn)


def risk_loss(risk: Callable[[torch.Tensor], torch.Tensor], vectors: torch.Tensor, step: TeacherStep) -> torch.Tensor:
    """vectors: those of the step's inputs, then of its harmless texts; `risk` makes one logit of each."""
    needs = torch.tensor([float(each.needs_safety) for each in step.inputs] + [0.0] * len(step.harmless))
    return nn.functional.binary_cross_entropy_with_logits(risk(vectors)[:, 0], needs.to(vectors.device))


def anchor_loss(vectors: torch.Tensor, before: torch.Tensor, similarity_weight: float) -> torch.Tensor:
    """How far unlabelled texts, and what lies between them, moved away from the untrained model's `before`."""
    moved = 1.0 - (vectors * before).sum(dim=1).mean()
    return moved + similarity_weight * nn.functional.mse_loss(vectors @ vectors.T, before @ before.T)


def near_copies(entries: Sequence[str]) -> list[list[int]]:
    """Each guideline with those whose entries are nearly the same as its own (Indel ratio of 0.75 or more)."""
    copies = [[row] for row in range(len(entries))]
    for pairs in similar_pairs(entries):
        for later, earlier in zip(pairs.later.tolist(), pairs.earlier.tolist(), strict=True):
            copies[later].append(earlier)
            copies[earlier].append(later)
    return copies

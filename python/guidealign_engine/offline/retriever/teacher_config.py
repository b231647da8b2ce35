"""How a teacher is trained, and on what."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from guidealign_engine.offline.retriever.contrast import Contrast

GPU_BATCH_FACTOR = 2
"""How much larger a step is on a GPU where no batch size is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherConfig:
    """How the teacher is trained.

    Every guideline of the library is at hand as a negative in every step: their vectors are kept in a bank that is
    encoded anew each `bank_steps`, and `guidelines_per_step` of the positives are encoded with a gradient (cross-batch
    memory, Wang et al., 2020). `prototype_weight` weighs the same loss against what a bundle holds, each guideline's
    entry folded with its inputs (prototypes, Snell et al., 2017), without the input that is looked for. `dimensions`
    are shorter ones that the first elements of a vector are trained for as well (Matryoshka, Kusupati et al., 2022).
    `anchor_weight` holds vectors and similarities of unlabelled texts to those of the untrained model. `risk_weight`
    weighs a logistic regression, on the vector, of whether an input needs a safety guideline.
    """

    epochs: int = 3
    batch_size: int = 64
    guidelines_per_step: int = 16
    texts_per_step: int = 24
    bank_steps: int = 60
    learning_rate: float = 2e-4
    risk_learning_rate: float = 2e-2
    contrast: Contrast = field(default_factory=Contrast)
    dimensions: tuple[int, ...] = ()
    guideline_weight: float = 0.3
    prototype_weight: float = 1.0
    risk_weight: float = 0.5
    anchor_weight: float = 1.0
    similarity_weight: float = 10.0
    query_tokens: int = 96
    text_tokens: int = 48
    seed: int = 13

    def with_batches(self, batch_size: int | None, *, gpu: bool) -> TeacherConfig:
        """Batches of that size, all else as it is; without a size larger steps on a GPU, and the same on a CPU."""
        if batch_size is not None:
            return replace(self, batch_size=batch_size)
        return self.enlarged(GPU_BATCH_FACTOR) if gpu else self

    def enlarged(self, factor: int) -> TeacherConfig:
        """Steps of `factor` times as much of everything; rates grow by its root (Malladi et al., 2022, for Adam)."""
        return replace(
            self,
            batch_size=self.batch_size * factor,
            guidelines_per_step=self.guidelines_per_step * factor,
            texts_per_step=self.texts_per_step * factor,
            bank_steps=max(1, self.bank_steps // factor),
            learning_rate=self.learning_rate * math.sqrt(factor),
            risk_learning_rate=self.risk_learning_rate * math.sqrt(factor),
        )


@dataclass(frozen=True, slots=True)
class TrainingInput:
    """An input, the positions of the guidelines that fit it, and whether one of them is a safety guideline."""

    text: str
    guidelines: tuple[int, ...]
    needs_safety: bool


@dataclass(frozen=True, slots=True)
class TeacherMaterial:
    """What a teacher is trained on: guidelines' entries, inputs with guidelines, inputs without, unlabelled texts."""

    entries: Sequence[str]
    inputs: Sequence[TrainingInput]
    harmless: Sequence[str]
    texts: Sequence[str]

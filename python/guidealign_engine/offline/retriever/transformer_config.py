"""Size and training of a transformer student."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from guidealign_engine.offline.export.precision import Precision
from guidealign_engine.offline.retriever.distil_loss import DistilWeights

GPU_BATCH_FACTOR = 4
"""How much larger a step is on a GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerConfig(DistilWeights):
    layers: int = 2
    width: int = 192
    precision: Precision = Precision.INT8
    """Of its files; those in float32 are kept beside them."""
    epochs: int = 4
    batch_size: int = 128
    tokens_per_batch: int = 8192
    learning_rate: float = 1e-3
    pair_repeats: int = 3
    token_dropout: float = 0.05
    held_out: int = 2000
    seed: int = 13

    def on(self, *, gpu: bool) -> TransformerConfig:
        """Larger batches on a GPU, and the same on a CPU."""
        return self.enlarged(GPU_BATCH_FACTOR) if gpu else self

    def enlarged(self, factor: int) -> TransformerConfig:
        """Batches of `factor` times as much; the rate grows by its root (Malladi et al., 2022, for Adam)."""
        return replace(
            self,
            batch_size=self.batch_size * factor,
            tokens_per_batch=self.tokens_per_batch * factor,
            learning_rate=self.learning_rate * math.sqrt(factor),
        )

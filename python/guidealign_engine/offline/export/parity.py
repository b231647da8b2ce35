"""How near the vectors of an exported graph are to those of the model that it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.building import StudentEmbedder
from guidealign_engine.bundle import ENCODER
from guidealign_engine.encoder import OnnxEncoder
from guidealign_engine.errors import ConfigError
from guidealign_engine.tokenizer import QueryTokenizer

PARITY_TEXTS = 1000
PARITY_COSINE = 0.9999
TOP = 6


@dataclass(frozen=True, slots=True)
class Agreement:
    """Cosines of two vectors of each text, and what share of the top 6 guidelines both find, where there are some."""

    texts: int
    lowest_cosine: float
    mean_cosine: float
    top6_overlap: float | None = None

    @classmethod
    def of(
        cls,
        found: NDArray[np.float32],
        wanted: NDArray[np.float32],
        guidelines: NDArray[np.float32] | None = None,
    ) -> Agreement:
        """found, wanted: unit vectors (texts, dimension); guidelines: (guidelines, dimension)."""
        cosines = (found * wanted).sum(axis=1)
        overlap = None if guidelines is None else _overlap(found @ guidelines.T, wanted @ guidelines.T)
        return cls(len(found), float(cosines.min()), float(cosines.mean()), overlap)

    def __str__(self) -> str:
        overlap = "" if self.top6_overlap is None else f", top {TOP} overlap {self.top6_overlap:.1%}"
        return f"cosine {self.mean_cosine:.6f} on average, {self.lowest_cosine:.6f} at the lowest{overlap}"


def check_parity(agreement: Agreement, name: str) -> None:
    """Raises ConfigError unless the graph and the model it was made from agree on every text; NaN never agrees."""
    if not agreement.lowest_cosine >= PARITY_COSINE:
        raise ConfigError(
            f"the ONNX graph differs from {name}: lowest cosine {agreement.lowest_cosine:.6f} on {agreement.texts} "
            f"texts; it must reach {PARITY_COSINE}, so nothing was written"
        )


def graph_embedder(model: bytes, tokenizer: str, dimension: int, max_tokens: int) -> StudentEmbedder:
    """The graph behind the tokenizer and the session that an engine uses."""
    return StudentEmbedder(
        QueryTokenizer(tokenizer, max_tokens=max_tokens),
        OnnxEncoder(model, dimension=dimension, threads=1, source=Path(ENCODER)),
    )


def texts_with_tokens(texts: Sequence[str], tokenizer: QueryTokenizer) -> list[str]:
    """Those that have a direction: a text without a token has the vector zero in a graph."""
    return [text for text, count in zip(texts, tokenizer.count(texts), strict=True) if count]


def _overlap(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    top = min(TOP, found.shape[1])
    pairs = zip(_best(found, top), _best(wanted, top), strict=True)
    return float(np.mean([len(set(one) & set(other)) / top for one, other in pairs]))


def _best(scores: NDArray[np.float32], top: int) -> list[list[int]]:
    best: list[list[int]] = np.argsort(-scores, axis=1, kind="stable")[:, :top].tolist()
    return best

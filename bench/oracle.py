"""The slow and obvious twin of retrieval: every stored vector read, every text compared by rapidfuzz."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.fuzz import ratio

from guidealign_engine.bundle import Bundle
from guidealign_engine.config import QueryConfig, RerankConfig
from guidealign_engine.encoder import OnnxEncoder
from guidealign_engine.engine import Engine
from guidealign_engine.library import Library
from guidealign_engine.query import query_texts
from guidealign_engine.tokenizer import QueryTokenizer

# An engine sums float16 products in another order, so guidelines this close may change places.
_TIE = 1e-4


@dataclass(frozen=True, slots=True)
class Oracle:
    """Answers of `retrieve_batch([prompt], min_score=-1.0)` without an index and without kernels."""

    tokenizer: QueryTokenizer
    encoder: OnnxEncoder
    vectors: NDArray[np.float32]
    starts: NDArray[np.int64]
    priority: NDArray[np.float32]
    entries: list[str]

    @classmethod
    def of(cls, engine: Engine, bundle: Bundle) -> Oracle:
        library = engine.library
        vectors = library.vectors.astype(np.float32)
        return cls(
            QueryTokenizer.from_bundle(bundle),
            OnnxEncoder.from_bundle(bundle, threads=1),
            vectors * library.scales[:, None] if len(library.scales) else vectors,
            library.vector_offsets[:-1],
            library.priority,
            entries_of(library),
        )

    def scores(self, prompt: str) -> NDArray[np.float64]:
        """float64 (guidelines)"""
        texts = query_texts([prompt], QueryConfig())
        query = self.encoder.embed(self.tokenizer.encode(texts))[0]
        best = np.maximum.reduceat(self.vectors @ query, self.starts)
        return best.astype(np.float64) + RerankConfig().prior_weight * self.priority

    def agreement(self, prompt: str, positions: Sequence[int], *, k: int = 6) -> float:
        """Share of the oracle's guidelines that are among `positions`, or are tied with the last of them."""
        scores = self.scores(prompt)
        wanted = without_duplicates(np.argsort(-scores, kind="stable").tolist(), self.entries, k=k)
        found = set(positions)
        last = min((scores[position] for position in positions), default=np.inf)
        hits = sum(position in found or bool(scores[position] <= last + _TIE) for position in wanted)
        return hits / len(wanted)


def without_duplicates(ranked: Sequence[int], entries: Sequence[str], *, k: int) -> list[int]:
    """The first k whose text has an Indel ratio below 50 to all that were taken before."""
    taken: list[int] = []
    for position in ranked:
        if len(taken) == k:
            break
        if all(ratio(entries[position], entries[other]) < 50 for other in taken):
            taken.append(position)
    return taken


def entries_of(library: Library) -> list[str]:
    """Each guideline as it stands in a prompt."""
    return [library.record(position).entry for position in range(len(library))]

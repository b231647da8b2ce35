"""The least that each stage of ours can take: the bytes that it must read, over the bandwidth of memory.

- search: centres of all lists (float32), codes of as many vectors as the lists that are read hold on average.
- rerank: the stored vectors of every guideline that owns a candidate, measured on these prompts.
- select: the texts of the guidelines that it compares, up to those that were taken.
- assemble: the texts that are put into the prompt, read once and written once.

Bandwidth is that of one thread reading an array of floats far larger than the caches. Whatever stays in a cache from
one request to the next is read faster than that, so that a small library may lie below its floor.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from guidealign_engine.engine import Engine

_ARRAY_BYTES = 256 << 20
_READINGS = 5
FLOORED = ("search", "rerank", "select", "assemble")


def bytes_per_second() -> float:
    """Of one thread that reads memory; the best of a few readings."""
    array = np.ones(_ARRAY_BYTES // 4, dtype=np.float32)
    best = float("inf")
    for _ in range(_READINGS):
        started = time.perf_counter()
        array.dot(array)
        best = min(best, time.perf_counter() - started)
    return _ARRAY_BYTES / best


def stage_bytes(engine: Engine, prompts: Sequence[str]) -> dict[str, float]:
    """Mean bytes a prompt by stage."""
    library, index = engine.library, engine.manifest.index
    vectors, dimension = library.vectors.shape
    ranked = engine.rank_batch(prompts)
    owned = np.diff(library.vector_offsets)
    candidates = ranked.guidelines[ranked.guidelines >= 0]
    retrievals = engine.retrieve_batch(prompts, min_score=-1.0)
    lengths = np.diff(library.entry_offsets)
    places = [retrieval.positions for retrieval in retrievals]
    text = sum(int(lengths[own].sum()) for own in places) / len(prompts)
    return {
        "search": _searched_bytes(index.kind, index.code_bytes or 4 * dimension, index.nprobe, vectors, dimension),
        "rerank": float(owned[candidates].sum()) * library.vectors[0].nbytes / len(prompts),
        "select": text,
        "assemble": 2 * text,
    }


def _searched_bytes(kind: str, code_bytes: int, nprobe: int | None, vectors: int, dimension: int) -> float:
    if kind not in ("ivf_pq", "ivf_pq4") or nprobe is None:
        return float(code_bytes * vectors)
    from guidealign_engine.index_kinds import list_count

    lists = list_count(kind, vectors)
    return 4.0 * lists * dimension + code_bytes * vectors * nprobe / lists

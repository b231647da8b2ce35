"""FAISS indexes of each kind: which is for how many vectors, and the sizes that its codes may have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.errors import ConfigError
from guidealign_engine.index import KINDS, import_faiss

_FLAT_UP_TO = 1_000
_PQ_UP_TO = 20_000
# FAISS wants 39 vectors for each centroid: 16 of a product quantiser of 4 bits (pq, ivf_pq4), 256 of one of 8 (ivf_pq),
# and those of the lists.
_FEWEST = {"flat": 1, "hnsw": 1, "pq": 39 * 16, "ivf_pq4": 39 * 64, "ivf_pq": 39 * 256}
# Dimensions that share a code of 4 bits (pq, ivf_pq4) or 8 bits (ivf_pq), smallest codes first.
_DIMENSIONS_PER_CODE = {"pq": (8, 4, 2, 1), "ivf_pq4": (4, 2), "ivf_pq": (16, 8, 4, 2)}
_CODES_OF_4_BITS = ("pq", "ivf_pq4")
_TRAINING_VECTORS_PER_LIST = 50
# Steps of k-means; the lists hardly move after these, and at a million vectors each step takes seconds.
_LIST_STEPS = 8
# Codes of 4 bits are read so fast that finding the nearest lists costs as much: fewer and longer ones than for ivf_pq.
_LISTS_PER_ROOT = {"ivf_pq4": 2, "ivf_pq": 4}
# Candidates that are rescored exactly.
_POOLS = {"ivf_pq4": (96, 192, 384, 768)}
_LINKS = 32
_ONE_THREAD_UP_TO = 100_000
_ADDED_AT_ONCE = 100_000
# Of ivf_pq4: more would take longer than a request may.
_MOST_LISTS_READ = 256


def choose_kind(asked: str | None, vectors: int) -> str:
    """The kind that was asked for, or the one for so many vectors. Raises ConfigError where it cannot be made."""
    if asked is None:
        return "flat" if vectors <= _FLAT_UP_TO else "pq" if vectors <= _PQ_UP_TO else "ivf_pq4"
    if asked not in KINDS:
        raise ConfigError(f"index kind is {asked!r}; allowed: {', '.join(KINDS)}")
    if vectors < _FEWEST[asked]:
        raise ConfigError(
            f"index kind {asked} needs at least {_FEWEST[asked]} vectors to be trained, the library has {vectors}; "
            "use flat"
        )
    return asked


def code_sizes(kind: str, dimension: int) -> list[int]:
    """Bytes that a vector may take in an index of the kind, smallest first."""
    if kind not in _DIMENSIONS_PER_CODE:
        return [4 * dimension]
    codes = [dimension // each for each in _DIMENSIONS_PER_CODE[kind] if dimension % each == 0]
    if kind in _CODES_OF_4_BITS:
        return [count // 2 for count in codes if count % 2 == 0] or [(dimension + 1) // 2]
    return codes or [dimension]


def list_count(kind: str, vectors: int) -> int:
    """Lists of an index of kind ivf_pq or ivf_pq4."""
    return int(_LISTS_PER_ROOT[kind] * np.sqrt(vectors))


def index_maker(
    kind: str, vectors: NDArray[np.float32], report: Callable[[str], None] = lambda line: None
) -> Callable[[int], Any]:
    """Makes an index of the vectors from the bytes of a code."""
    faiss = import_faiss()
    dimension = vectors.shape[1]

    def make(code_bytes: int) -> Any:
        if kind == "flat":
            return faiss.IndexFlatIP(dimension)
        if kind == "hnsw":
            graph = faiss.IndexHNSWFlat(dimension, _LINKS, faiss.METRIC_INNER_PRODUCT)
            graph.hnsw.efConstruction = 80
            return graph
        if kind == "pq":
            codes = min(2 * code_bytes, dimension)
            index = faiss.index_factory(dimension, f"PQ{codes}x4fs", faiss.METRIC_INNER_PRODUCT)
            index.train(vectors)
            return index
        lists = list_count(kind, len(vectors))
        # "np": without the polysemous order of codes, which no search here reads and which takes most of the time.
        # "fsr": fast scan, of what is left of a vector without its list's centre.
        codes = f"PQ{min(2 * code_bytes, dimension)}x4fsr" if kind == "ivf_pq4" else f"PQ{code_bytes}np"
        index = faiss.index_factory(dimension, f"IVF{lists},{codes}", faiss.METRIC_INNER_PRODUCT)
        index.cp.niter = _LIST_STEPS
        sample = np.random.default_rng(0).permutation(len(vectors))[: _TRAINING_VECTORS_PER_LIST * lists]
        index.train(vectors[sample])
        return index

    def made(code_bytes: int) -> Any:
        with _threads(1 if len(vectors) <= _ONE_THREAD_UP_TO else faiss.omp_get_max_threads()):
            index = make(code_bytes)
            for start in range(0, len(vectors), _ADDED_AT_ONCE):
                index.add(vectors[start : start + _ADDED_AT_ONCE])
                if len(vectors) > _ADDED_AT_ONCE:
                    report(f"  {min(start + _ADDED_AT_ONCE, len(vectors))} of {len(vectors)} vectors added")
        return index

    return made


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Of FAISS in the calling thread. On a busy machine, threads that wait for each other take minutes for seconds."""
    faiss = import_faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def widths(kind: str, index: Any, pool: int) -> Sequence[int | None]:
    """What nprobe, or for HNSW efSearch, may be, narrowest first; [None] where all is read anyway."""
    if kind not in ("ivf_pq", "ivf_pq4", "hnsw"):
        return [None]
    # A graph that keeps fewer candidates than are asked for returns fewer.
    narrowest, widest = (pool, max(pool, min(2048, index.ntotal))) if kind == "hnsw" else (1, index.nlist)
    if kind == "ivf_pq4":
        widest = min(widest, _MOST_LISTS_READ)
    steps = {round(2 ** (half / 2)) for half in range(24)}
    return sorted({narrowest, widest} | {step for step in steps if narrowest < step < widest})


def pools(kind: str) -> Sequence[int | None]:
    """How many candidates a search may propose for the exact rerank, fewest first; None for as many as it asks for."""
    return _POOLS.get(kind, (None,))

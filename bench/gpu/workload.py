"""Libraries of a million and more vectors on a device, with queries near to them and what an exact search finds."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.gpu.index import gpu_resources
from guidealign_engine.gpu.sessions import Place
from guidealign_engine.index import import_faiss
from guidealign_engine.library import Library

DIMENSION = 256
_TOPICS = 4096
_CHUNK = 1 << 18
_TRAINED_ON = 50
_NEAR = 0.6


@dataclass(frozen=True, slots=True)
class Workload:
    """Vectors in topics, as guidelines lie, their IVF-PQ index, and queries with their exact six nearest."""

    library: Library
    index: Any
    """FAISS, on the device"""
    resources: list[Any]
    lists: int
    code_bytes: int
    queries: NDArray[np.float32]
    nearest: NDArray[np.int64]
    """(queries, 6)"""

    @property
    def vectors(self) -> int:
        return len(self.library.vectors)


def make_workload(
    vectors: int,
    place: Place,
    *,
    queries: int,
    resources: list[Any],
    lists: int | None = None,
    code_bytes: int = 64,
) -> Workload:
    """Draws the vectors, and trains and fills the index on the device: on the CPU that would take minutes.

    lists: None for four times the root of the vectors.
    """
    faiss = import_faiss()
    draw = np.random.default_rng(0)
    topics = _unit(draw.standard_normal((min(_TOPICS, vectors // 8), DIMENSION), dtype=np.float32))
    stored = np.empty((vectors, DIMENSION), dtype=np.float16)
    lists = lists or int(4 * np.sqrt(vectors))
    cpu = faiss.index_factory(DIMENSION, f"IVF{lists},PQ{code_bytes}np", faiss.METRIC_INNER_PRODUCT)
    index = cpu if place.kind == "cpu" else _on_gpu(faiss, cpu, place, resources)
    exact = _exact(faiss, place, resources)
    for start in range(0, vectors, _CHUNK):
        stored[start : start + _CHUNK] = _drawn(draw, topics, min(_CHUNK, vectors - start))
    sample = draw.permutation(vectors)[: max(_TRAINED_ON * lists, 39 * 256)]
    index.train(stored[np.sort(sample)].astype(np.float32))
    for start in range(0, vectors, _CHUNK):
        rows = stored[start : start + _CHUNK].astype(np.float32)
        index.add(rows)
        exact.add(rows)
        print(f"  {min(start + _CHUNK, vectors):,} of {vectors:,} vectors", file=sys.stderr)
    asked = _unit(_drawn(draw, topics, queries))
    _, nearest = exact.search(asked, 6)
    return Workload(_library(stored), index, resources, lists, code_bytes, asked, nearest)


def resources_for(place: Place) -> list[Any]:
    """FAISS's, for a GPU; none for the CPU."""
    return gpu_resources(import_faiss(), [place.number]) if place.kind == "cuda" else []


def _drawn(draw: np.random.Generator, topics: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    noise = draw.standard_normal((count, DIMENSION), dtype=np.float32) / np.float32(np.sqrt(DIMENSION))
    return _unit(topics[draw.integers(len(topics), size=count)] + np.float32(_NEAR) * noise)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _on_gpu(faiss: Any, index: Any, place: Place, resources: list[Any]) -> Any:
    options = faiss.GpuClonerOptions()
    options.useFloat16 = True
    options.use_cuvs = "CUVS" in faiss.get_compile_options()
    return faiss.index_cpu_to_gpu(resources[0], place.number, index, options)


def _exact(faiss: Any, place: Place, resources: list[Any]) -> Any:
    flat = faiss.IndexFlatIP(DIMENSION)
    return flat if place.kind == "cpu" else _on_gpu(faiss, flat, place, resources)


def _library(stored: NDArray[np.float16]) -> Library:
    """The columns that are scored: a vector a guideline, as in a bundle with folded examples."""
    count = len(stored)
    columns = {
        "vectors": stored,
        "scales": np.empty(0, dtype=np.float32),
        "owners": np.arange(count, dtype=np.int32),
        "vector_offsets": np.arange(count + 1, dtype=np.int64),
        "priority": np.zeros(count, dtype=np.float32),
    }
    others = dict.fromkeys(Library.__dataclass_fields__.keys() - columns.keys())
    return Library(**columns, **others)  # type: ignore[arg-type]

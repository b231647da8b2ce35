"""Candidates for each query vector, by FAISS."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.bundle import INDEX, MANIFEST, Bundle
from guidealign_engine.errors import ArtifactError
from guidealign_engine.optional_packages import import_optional

# flat: exact, every vector read. pq: every vector's code of a quarter byte a dimension read, 16 times less memory than
# flat, so that it stays in the cache beside all that a request needs. ivf_pq: a few lists of codes. ivf_pq4: a few
# lists of codes like those of pq, and more candidates than were asked for, since rerank reads them exactly for less
# than finer codes would cost. hnsw: a graph.
KINDS = ("flat", "pq", "ivf_pq", "ivf_pq4", "hnsw")

# From 20 queries on FAISS multiplies matrices instead of taking inner products one by one, which rounds differently:
# fewer at a time, and an answer never depends on what else was in the batch. Fast scan adds integers.
_QUERIES_PER_SEARCH = {"flat": 16, "pq": 1024, "ivf_pq": 16, "ivf_pq4": 16, "hnsw": 1024}
_limits = threading.Lock()


def import_faiss() -> ModuleType:
    return import_optional("faiss", package="faiss-cpu", extra="cpu", purpose="searching")


class CandidateIndex:
    """A FAISS index over the stored vectors. Searches from many threads may overlap.

    nprobe: lists that are read, or for hnsw efSearch. pool: how many candidates a search proposes at least.
    """

    def __init__(self, index: Any, *, nprobe: int | None, threads: int, source: Path, pool: int | None = None) -> None:
        self._faiss = import_faiss()
        self._index = index
        self._nprobe = nprobe
        self._pool = pool or 1
        self._threads = threads
        self._size = index.ntotal
        self.kind = _kind_of(self._faiss, index, source)
        self._queries_per_search = _QUERIES_PER_SEARCH[self.kind]

    @classmethod
    def from_bundle(cls, bundle: Bundle, *, nprobe: int | None, threads: int) -> CandidateIndex:
        """Raises ArtifactError when the file is no index, or one of other vectors than the bundle's."""
        faiss = import_faiss()
        file = bundle.folder / INDEX
        content = np.frombuffer(bundle.maps[INDEX], dtype=np.uint8)
        try:
            with _deserialisation_limits(faiss, len(content)):
                index = faiss.deserialize_index(content)
        except (RuntimeError, MemoryError) as error:
            raise ArtifactError(f"FAISS cannot read the index: {error}", file=file) from error
        # FAISS has copied what it needs.
        del content
        bundle.let_go(INDEX)
        manifest = bundle.manifest
        for name, found, expected in (
            ("vectors", index.ntotal, manifest.vectors),
            ("encoder.dimension", index.d, manifest.encoder.dimension),
        ):
            if found != expected:
                raise ArtifactError(
                    f"the index has {found}, the manifest says {expected}", file=file.with_name(MANIFEST), field=name
                )
        if index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise ArtifactError("the index does not search by inner product", file=file, field="metric_type")
        candidates = cls(
            index, nprobe=nprobe or manifest.index.nprobe, threads=threads, source=file, pool=manifest.index.pool
        )
        if candidates.kind != manifest.index.kind:
            raise ArtifactError(
                f"the index is of kind {candidates.kind}, the manifest says {manifest.index.kind}",
                file=file.with_name(MANIFEST),
                field="index.kind",
            )
        return candidates

    def search(
        self, queries: NDArray[np.float32], pool: int, *, allowed_vectors: NDArray[np.uint8] | None = None
    ) -> NDArray[np.int64]:
        """Ids of the nearest vectors, int64 (queries, pool or more); -1 where there are no more.

        allowed_vectors: packed bits, little end first, one a vector; others are not proposed.
        """
        if allowed_vectors is not None and self.kind == "pq":
            # FAISS's fast scan takes no filter. A library that is searched by it is small: propose all that is allowed.
            allowed = np.flatnonzero(np.unpackbits(allowed_vectors, count=self._size, bitorder="little"))
            return np.tile(allowed, (len(queries), 1))
        faiss = self._faiss
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        pool = min(max(pool, self._pool), self._size)
        distances = np.empty((len(queries), pool), dtype=np.float32)
        candidates = np.empty((len(queries), pool), dtype=np.int64)
        parameters = self._parameters(allowed_vectors)
        if len(queries) == 1:
            # FAISS splits by query, so there is nothing to split.
            self._search(queries, distances, candidates, parameters)
            return candidates
        threads_before = faiss.omp_get_max_threads()
        # FAISS's number of threads holds for the calling thread only, and is given back as it was.
        faiss.omp_set_num_threads(self._threads)
        try:
            for start in range(0, len(queries), self._queries_per_search):
                rows = slice(start, start + self._queries_per_search)
                self._search(queries[rows], distances[rows], candidates[rows], parameters)
        finally:
            faiss.omp_set_num_threads(threads_before)
        return candidates

    def _search(
        self, queries: NDArray[np.float32], distances: NDArray[np.float32], candidates: NDArray[np.int64], options: Any
    ) -> None:
        # The C++ method itself: the Python one checks and allocates once more.
        pointer = self._faiss.swig_ptr
        rows, pool = candidates.shape
        self._index.search_c(rows, pointer(queries), pool, pointer(distances), pointer(candidates), options)

    def _parameters(self, allowed_vectors: NDArray[np.uint8] | None) -> Any:
        faiss = self._faiss
        selector = None if allowed_vectors is None else faiss.IDSelectorBitmap(allowed_vectors)
        if self.kind in ("ivf_pq", "ivf_pq4"):
            return faiss.SearchParametersIVF(sel=selector, nprobe=self._nprobe)
        if self.kind == "hnsw":
            return faiss.SearchParametersHNSW(sel=selector, efSearch=self._nprobe or 64)
        return None if selector is None else faiss.SearchParameters(sel=selector)


@contextmanager
def _deserialisation_limits(faiss: ModuleType, size: int) -> Iterator[None]:
    """No array of the file may be larger than the file, whatever its header says. The settings are the process's."""
    if not hasattr(faiss, "set_deserialization_vector_byte_limit"):
        yield
        return
    with _limits:
        loops, byte_limit = faiss.get_deserialization_loop_limit(), faiss.get_deserialization_vector_byte_limit()
        faiss.set_deserialization_loop_limit(max(1 << 20, size))
        # The precomputed tables of an IVF-PQ index are counted too, and are not in the file.
        faiss.set_deserialization_vector_byte_limit(size + (2 << 30))
        try:
            yield
        finally:
            faiss.set_deserialization_loop_limit(loops)
            faiss.set_deserialization_vector_byte_limit(byte_limit)


def _kind_of(faiss: ModuleType, index: Any, source: Path) -> str:
    for kind, classes in (
        ("flat", (faiss.IndexFlat,)),
        ("pq", (faiss.IndexPQFastScan,)),
        ("ivf_pq4", (faiss.IndexIVFPQFastScan,)),
        ("ivf_pq", (faiss.IndexIVF,)),
        ("hnsw", (faiss.IndexHNSW,)),
    ):
        if isinstance(index, classes):
            return kind
    raise ArtifactError(f"{type(index).__name__} is not a kind of index that this version uses", file=source)

"""Candidates for each query vector, by FAISS on GPUs: the bundle's index, cloned there."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.bundle import Bundle
from guidealign_engine.config import SearchConfig
from guidealign_engine.devices import Spread
from guidealign_engine.errors import DeviceError
from guidealign_engine.gpu.driver import free_bytes
from guidealign_engine.gpu.memory import SEARCH_SCRATCH_BYTES, IndexSize, choose_spread
from guidealign_engine.index import CandidateIndex, import_faiss
from guidealign_engine.library import Library

# FAISS's own kernels keep as many best in registers.
MOST_CANDIDATES = 2048
_MOST_LISTS = 2048


class GpuIndex:
    """An index on GPUs, with the `search` of `CandidateIndex`. One search at a time: a `CudaGuard` holds the turn.

    FAISS filters and long lists of candidates are not for GPUs, so those searches go to the CPU index, which is the
    same index, or one that approximates the exact one on the GPU.
    """

    def __init__(self, index: Any, *, on_cpu: CandidateIndex, size: int, resources: Sequence[Any] = ()) -> None:
        self._faiss = import_faiss()
        self._index = index
        self._on_cpu = on_cpu
        self._size = size
        # FAISS keeps plain pointers to them.
        self._resources = resources
        self.kind = kind_on_gpu(on_cpu.kind)

    @classmethod
    def from_bundle(
        cls,
        bundle: Bundle,
        library: Library,
        on_cpu: CandidateIndex,
        gpus: Sequence[int],
        *,
        resources: Sequence[Any],
        spread: Spread,
        config: SearchConfig,
    ) -> GpuIndex:
        """Raises DeviceError for an index that does not fit, naming both sizes, or that FAISS has no GPU code for."""
        faiss = import_faiss()
        twin = cloneable(faiss, bundle, library, on_cpu)
        size = size_of(twin)
        spread = choose_spread(size, [free_bytes(gpu) for gpu in gpus], spread)
        nprobe = min(config.nprobe or bundle.manifest.index.nprobe or 1, _MOST_LISTS)
        try:
            index = _clone(faiss, twin, gpus, resources, spread)
        except RuntimeError as error:
            raise DeviceError(
                f'FAISS cannot put the index on the GPU: {" ".join(str(error).split())}; use device="cpu", or build '
                "the index with other codes (guidealign build index)"
            ) from error
        if kind_on_gpu(on_cpu.kind) == "ivf_pq":
            faiss.GpuParameterSpace().set_index_parameter(index, "nprobe", nprobe)
        return cls(index, on_cpu=on_cpu, size=bundle.manifest.vectors, resources=resources)

    def takes(self, pool: int, allowed_vectors: NDArray[np.uint8] | None) -> bool:
        """Whether the GPU answers such a search, and not the CPU index."""
        return allowed_vectors is None and min(pool, self._size) <= MOST_CANDIDATES

    def search(
        self, queries: NDArray[np.float32], pool: int, *, allowed_vectors: NDArray[np.uint8] | None = None
    ) -> NDArray[np.int64]:
        """Ids of the nearest vectors, int64 (queries, pool); -1 where there are no more. As `CandidateIndex.search`."""
        if not self.takes(pool, allowed_vectors):
            return self._on_cpu.search(queries, pool, allowed_vectors=allowed_vectors)
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        candidates = np.empty((len(queries), self.pool(pool)), dtype=np.int64)
        distances = np.empty(candidates.shape, dtype=np.float32)
        pointer = self._faiss.swig_ptr
        self._index.search_c(
            len(queries), pointer(queries), candidates.shape[1], pointer(distances), pointer(candidates), None
        )
        return candidates

    def search_in_place(self, queries: int, rows: int, width: int, distances: int, candidates: int) -> None:
        """The same in device memory, by addresses: float32 (rows, dimension) to float32 and int64 (rows, width).

        width: what `pool` says. Written when FAISS's stream gets there: what runs on that stream next may read it.
        """
        floats, ids = self._faiss.cast_integer_to_float_ptr, self._faiss.cast_integer_to_idx_t_ptr
        self._index.search_c(rows, floats(queries), width, floats(distances), ids(candidates), None)

    def pool(self, pool: int) -> int:
        """How many candidates there can be."""
        return min(pool, self._size)


def kind_on_gpu(kind: str) -> str:
    """ivf_pq is what it is; all other kinds are small or graphs, and become an exact search in float16."""
    return "ivf_pq" if kind == "ivf_pq" else "flat"


def cloneable(faiss: ModuleType, bundle: Bundle, library: Library, on_cpu: CandidateIndex) -> Any:
    """An index that FAISS clones to a GPU: the bundle's IVF-PQ, otherwise an exact one of the stored vectors."""
    if kind_on_gpu(on_cpu.kind) == "ivf_pq":
        return on_cpu._index
    exact = faiss.IndexFlatIP(bundle.manifest.encoder.dimension)
    step = 1 << 16
    for start in range(0, bundle.manifest.vectors, step):
        rows = slice(start, start + step)
        vectors = library.vectors[rows].astype(np.float32)
        exact.add(vectors * library.scales[rows, None] if len(library.scales) else vectors)
    return exact


def size_of(index: Any) -> IndexSize:
    """Of an index as `cloneable` gives it."""
    if hasattr(index, "nlist"):
        return IndexSize(index.ntotal, index.d, code_bytes=index.code_size, lists=index.nlist)
    return IndexSize(index.ntotal, index.d)


def gpu_resources(faiss: ModuleType, gpus: Sequence[int]) -> list[Any]:
    """FAISS's streams and scratch memory, one for each GPU."""
    resources = []
    for _ in gpus:
        each = faiss.StandardGpuResources()
        each.setTempMemory(SEARCH_SCRATCH_BYTES)
        resources.append(each)
    return resources


def stream_of(faiss: ModuleType, resources: Any, gpu: int) -> int:
    """The address of the CUDA stream that FAISS computes on."""
    stream: int = faiss.cast_cudastream_t_to_integer(resources.getDefaultStream(gpu))
    return stream


def _clone(faiss: ModuleType, twin: Any, gpus: Sequence[int], resources: Sequence[Any], spread: Spread) -> Any:
    several = len(gpus) > 1
    options = faiss.GpuMultipleClonerOptions() if several else faiss.GpuClonerOptions()
    # Vectors of an exact index, and the tables of distances of IVF-PQ; centroids that choose lists stay exact.
    options.useFloat16 = True
    options.useFloat16CoarseQuantizer = False
    options.use_cuvs = "CUVS" in faiss.get_compile_options()
    if not several:
        return faiss.index_cpu_to_gpu(resources[0], gpus[0], twin, options)
    options.shard = spread is Spread.SHARD
    return faiss.index_cpu_to_gpu_multiple_py(list(resources), twin, options, list(gpus))

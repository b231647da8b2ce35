"""Exact scores on the device: the candidates' stored vectors are looked up and scored where they lie."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.batches import RankedBatch
from guidealign_engine.config import Fold, RerankConfig
from guidealign_engine.gpu.encoder import DeviceVectors
from guidealign_engine.gpu.graphs import import_onnx
from guidealign_engine.gpu.sessions import Place, buffer, open_session, uploaded
from guidealign_engine.library import Library

# The same as rerank_batch.cpp: every guideline that owns a candidate, once, on all of its vectors, best first; equal
# scores put the lower guideline first. FLOAT16 or INT8 stands where the stored vectors' type does.
_GRAPH = """
<ir_version: 9, opset_import: ["" : 17]>
rerank (
    float[texts, dimension] queries, int64[texts, pool] candidates, VECTORS[vectors, dimension] stored,
    float[vectors] scales, int64[vectors] owners, int64[bounds] offsets, float[guidelines] priors,
    int64[1, 1, most] steps
) => (int64[texts, pool] guidelines, float[texts, pool] scores, int64[texts, pool] matched)
<int64 zero = {0}, int64 one = {1}, int64 none = {-1}, int64 far = {9223372036854775807},
 int64[1] begin = {0}, int64[1] second = {1}, int64[1] last = {-1}, int64[1] columns = {1}, int64[1] third = {2},
 int64[2] in_rows = {0, -1}, float lowest = {-3.0e38}, float nothing = {0.0}>
{
    is_candidate = GreaterOrEqual (candidates, zero)
    safe = Where (is_candidate, candidates, zero)
    owner = Gather (owners, safe)
    owner_or_far = Where (is_candidate, owner, far)
    shape = Shape (candidates)
    pool_size = Slice (shape, second, third)
    ascending, places = TopK <axis = -1, largest = 0, sorted = 1> (owner_or_far, pool_size)
    first_of_row = Slice (ascending, begin, second, columns)
    other_than_first = Sub (first_of_row, one)
    all_but_last = Slice (ascending, begin, last, columns)
    before = Concat <axis = 1> (other_than_first, all_but_last)
    repeated = Equal (ascending, before)
    is_new = Not (repeated)
    is_found = Less (ascending, far)
    keep = And (is_new, is_found)
    guideline = Where (keep, ascending, zero)
    next_guideline = Add (guideline, one)
    start = Gather (offsets, guideline)
    end = Gather (offsets, next_guideline)
    start_3d = Unsqueeze (start, third)
    end_3d = Unsqueeze (end, third)
    slot = Add (start_3d, steps)
    is_own = Less (slot, end_3d)
    vector = Where (is_own, slot, start_3d)
    vector_shape = Shape (vector)
    vector_2d = Reshape (vector, in_rows)
    found = Gather (stored, vector_2d)
    values = Cast <to = 1> (found)
    queries_3d = Unsqueeze (queries, third)
    products_3d = MatMul (values, queries_3d)
    products = Squeeze (products_3d, third)
    scale = Gather (scales, vector_2d)
    scaled = Mul (products, scale)
    by_vector = Reshape (scaled, vector_shape)
    own_scores = Where (is_own, by_vector, lowest)
    best_3d, best_place_3d = TopK <axis = -1, largest = 1, sorted = 1> (own_scores, second)
    best = Squeeze (best_3d, third)
    best_place = Squeeze (best_place_3d, third)
    best_vector = Add (start, best_place)
    prior = Gather (priors, guideline)
    with_prior = Add (best, prior)
    score = Where (keep, with_prior, lowest)
    descending, order = TopK <axis = -1, largest = 1, sorted = 1> (score, pool_size)
    kept_guideline = Where (keep, guideline, none)
    kept_vector = Where (keep, best_vector, none)
    guidelines = GatherElements <axis = 1> (kept_guideline, order)
    matched = GatherElements <axis = 1> (kept_vector, order)
    is_filled = GreaterOrEqual (guidelines, zero)
    scores = Where (is_filled, descending, nothing)
}
"""
_MOST_LOOKED_UP = 1 << 29
"""Bytes of vectors that one batch may look up as float32."""


class GpuRerank:
    """The stored vectors on a device, scored there. One batch at a time: a `CudaGuard` holds the turn."""

    def __init__(self, library: Library, config: RerankConfig, place: Place) -> None:
        most = int(np.diff(library.vector_offsets).max())
        count, self._dimension = library.vectors.shape
        self._floats_per_candidate = most * int(self._dimension)
        scales = library.scales if len(library.scales) else np.ones(count, dtype=np.float32)
        tables = {
            "stored": library.vectors,
            "scales": scales,
            "owners": library.owners.astype(np.int64),
            "offsets": library.vector_offsets,
            "priors": np.float32(config.prior_weight) * library.priority,
            "steps": np.arange(most, dtype=np.int64).reshape(1, 1, -1),
        }
        graph = _GRAPH.replace("VECTORS", "int8" if library.vectors.dtype == np.int8 else "float16")
        model = import_onnx().parser.parse_model(graph).SerializeToString()
        self._place = place
        self._session = open_session(model, place, replay=False)
        self._tables = {name: uploaded(table, place) for name, table in tables.items()}

    @staticmethod
    def computes(config: RerankConfig) -> bool:
        """Whether scores are folded in a way that the device knows."""
        return config.fold is Fold.BEST

    def takes(self, rows: int, pool: int) -> bool:
        """Whether the vectors that such a batch looks up stay within bounds."""
        return 4 * rows * pool * self._floats_per_candidate <= _MOST_LOOKED_UP

    def scores(self, queries: DeviceVectors, candidates: CandidateBuffer) -> RankedBatch:
        """As `rerank`, up to the rounding of float32 sums in another order; only the answer leaves the device.

        Raises ValueError for scores that are not finite.
        """
        binding = self._session.io_binding()
        kind, number = self._place.kind, self._place.number
        for name, dtype, width, address in (
            ("queries", np.float32, self._dimension, queries.address),
            ("candidates", np.int64, candidates.pool, candidates.ids.data_ptr()),
        ):
            binding.bind_input(name, kind, number, dtype, [queries.rows, width], address)
        for name, table in self._tables.items():
            binding.bind_ortvalue_input(name, table)
        for name in ("guidelines", "scores", "matched"):
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding)
        guidelines, scores, matched = (value.numpy() for value in binding.get_outputs())
        return checked(guidelines, scores, matched)


class CandidateBuffer:
    """Where an index on a device writes candidates and their distances."""

    def __init__(self, rows: int, pool: int, place: Place) -> None:
        self.pool = pool
        self.ids = buffer((rows, pool), np.int64, place)
        self.distances = buffer((rows, pool), np.float32, place)


def checked(guidelines: NDArray[np.int64], scores: NDArray[np.float32], matched: NDArray[np.int64]) -> RankedBatch:
    """Raises ValueError for scores that are not finite, naming the row."""
    bad = np.argwhere(~np.isfinite(scores) | (scores < -1e30))
    if len(bad):
        raise ValueError(f"query {bad[0, 0]} has no finite score; queries, vectors and priorities must be finite")
    counts = (guidelines >= 0).sum(axis=1).astype(np.int32)
    return RankedBatch(guidelines.astype(np.int32), scores, matched, counts)

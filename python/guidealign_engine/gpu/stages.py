"""Encode, search and rerank on a GPU, one part of a batch after the other, without a detour over the host."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.batches import RankedBatch, TokenBatch
from guidealign_engine.config import RerankConfig
from guidealign_engine.devices import StageDevices
from guidealign_engine.gpu.encoder import CudaEncoder, DeviceVectors
from guidealign_engine.gpu.guard import CudaGuard
from guidealign_engine.gpu.index import GpuIndex
from guidealign_engine.gpu.rerank import CandidateBuffer, GpuRerank
from guidealign_engine.library import Library
from guidealign_engine.rerank import rerank
from guidealign_engine.timing import StageTimer


class GpuStages:
    """What `Engine` does between tokens and ranked guidelines, on a device; the same answer up to rounding.

    Threads may call it: one batch at a time is on the device. Query vectors stay there for the index where it is on the
    same card and no filter sends the search to the CPU, and the candidates stay for the exact scores where the stored
    vectors are on that card too; then only ranked guidelines come back.
    """

    def __init__(
        self,
        *,
        encoder: CudaEncoder,
        index: GpuIndex,
        library: Library,
        config: RerankConfig,
        exact: GpuRerank | None,
        in_place: bool,
        devices: StageDevices,
        guard: CudaGuard,
    ) -> None:
        self.devices = devices
        self.dimension = encoder.dimension
        self._encoder = encoder
        self._index = index
        self._library = library
        self._config = config
        self._exact = exact
        self._in_place = in_place
        self._guard = guard
        self._buffers: dict[tuple[int, int], CandidateBuffer] = {}

    def warm_up(self, pool: int) -> None:
        """Answers once for one text and for many: libraries set themselves up at their first call."""
        for texts in (1, 64):
            self.rank(TokenBatch.of([np.zeros(1, dtype=np.int64)] * texts), pool, None, StageTimer())

    def embed(self, tokens: TokenBatch) -> NDArray[np.float32]:
        """`Encoder.embed`. Raises DeviceError for a batch that failed on the device."""
        with self._guard.turn():
            return self._encoder.embed(tokens)

    def rank(
        self, tokens: TokenBatch, pool: int, allowed_vectors: NDArray[np.uint8] | None, timer: StageTimer
    ) -> RankedBatch:
        """Guidelines that own a candidate, scored on all of their stored vectors, best first.

        Raises DeviceError for a batch that failed on the device, ValueError for scores that are not finite.
        """
        with self._guard.turn():
            parts = []
            for rows, queries in self._encoder.parts(tokens):
                timer.lap("encode")
                parts.append((rows, self._ranked(queries, pool, allowed_vectors, timer)))
        return _without_empty(_joined(parts, len(tokens), self._index.pool(pool)), tokens)

    def _ranked(
        self, queries: DeviceVectors, pool: int, allowed_vectors: NDArray[np.uint8] | None, timer: StageTimer
    ) -> RankedBatch:
        width = self._index.pool(pool)
        on_device = self._in_place and self._index.takes(pool, allowed_vectors)
        if on_device and self._exact is not None and self._exact.takes(queries.rows, width):
            found = self._buffer(queries.rows, width)
            self._index.search_in_place(
                queries.address, queries.rows, width, found.distances.data_ptr(), found.ids.data_ptr()
            )
            timer.lap("search")
            ranked = self._exact.scores(queries, found)
        else:
            vectors = queries.on_host()
            candidates = self._index.search(vectors, pool, allowed_vectors=allowed_vectors)
            timer.lap("search")
            ranked = rerank(vectors, candidates, self._library, self._config)
        timer.lap("rerank")
        return ranked

    def _buffer(self, rows: int, pool: int) -> CandidateBuffer:
        """One for every number of rows up to a power of two, kept: allocating takes as long as searching."""
        key = (1 << (rows - 1).bit_length(), pool)
        if key not in self._buffers:
            self._buffers[key] = CandidateBuffer(*key, self._encoder.place)
        return self._buffers[key]


def _joined(parts: Sequence[tuple[NDArray[np.int64], RankedBatch]], rows: int, pool: int) -> RankedBatch:
    if len(parts) == 1:
        return parts[0][1]
    # A filtered search may propose more than the pool.
    width = max((ranked.guidelines.shape[1] for _, ranked in parts), default=pool)
    whole = RankedBatch(
        np.full((rows, width), -1, dtype=np.int32),
        np.zeros((rows, width), dtype=np.float32),
        np.full((rows, width), -1, dtype=np.int64),
        np.zeros(rows, dtype=np.int32),
    )
    for places, ranked in parts:
        columns = ranked.guidelines.shape[1]
        whole.guidelines[places, :columns] = ranked.guidelines
        whole.scores[places, :columns] = ranked.scores
        whole.matched[places, :columns] = ranked.matched
        whole.counts[places] = ranked.counts
    return whole


def _without_empty(ranked: RankedBatch, tokens: TokenBatch) -> RankedBatch:
    """A text without a token has no direction to search in, and finds nothing."""
    if tokens.has_empty:
        empty = tokens.lengths == 0
        ranked.guidelines[empty] = -1
        ranked.scores[empty] = 0.0
        ranked.matched[empty] = -1
        ranked.counts[empty] = 0
    return ranked

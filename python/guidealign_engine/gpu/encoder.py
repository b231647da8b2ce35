"""Token ids to unit vectors on a GPU: a recorded run for each of a few shapes, read and written in place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.batches import TokenBatch
from guidealign_engine.bundle import ENCODER, MANIFEST, Bundle
from guidealign_engine.errors import ArtifactError, DeviceError
from guidealign_engine.gpu.buckets import Bucket, Buckets, padded
from guidealign_engine.gpu.graphs import fit_for_cuda, import_onnx, input_dimensions, with_shape
from guidealign_engine.gpu.sessions import Place, buffer, open_session, uploaded

ENCODER_FLOAT16 = "encoder.float16.onnx"
"""An optional part of a bundle: the encoder for GPUs. Without it they compute `encoder.onnx`."""
_REFUSES_RECORDING = "graph capture feature"
_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "token_weights")


@dataclass(frozen=True, slots=True)
class DeviceVectors:
    """Unit vectors where the encoder left them: the first `rows` rows of a buffer, valid until its next run."""

    value: Any
    """OrtValue, float32 (bucket.texts, dimension)"""
    rows: int

    @property
    def address(self) -> int:
        pointer: int = self.value.data_ptr()
        return pointer

    def on_host(self) -> NDArray[np.float32]:
        """float32 (rows, dimension)"""
        vectors: NDArray[np.float32] = self.value.numpy()[: self.rows]
        return vectors


class CudaEncoder:
    """An ONNX graph on a GPU. One run at a time: a caller holds the turn of a `CudaGuard`.

    Fixed shapes are what lets onnxruntime work out all that depends on shapes when the session is made, so that no
    node is left for the CPU and the kernels of a run can be recorded; so there is a session for each bucket.
    """

    def __init__(self, model: bytes, *, dimension: int, buckets: Buckets, place: Place, source: Path) -> None:
        graph = import_onnx().load_from_string(model)
        self.place = place
        self.dimension = dimension
        self.source = source
        self.notes: list[str] = []
        self._check(graph, source)
        if fit_for_cuda(graph):
            self.notes.append(f"int8 computed in float32; a bundle with {ENCODER_FLOAT16} is faster")
        self._buckets = buckets
        names = input_dimensions(graph)
        self._replay = place.kind == "cuda"
        self._runs: dict[Bucket, _BucketRun] = {}
        for bucket in self._buckets.all():
            fixed = with_shape(graph, dict(zip(names, (bucket.texts, bucket.length), strict=True)))
            self._runs[bucket] = self._open(fixed, bucket, source)

    @classmethod
    def from_bundle(cls, bundle: Bundle, *, place: Place, buckets: Buckets | None = None) -> CudaEncoder:
        """buckets: the shapes to prepare; None for those that texts of the bundle's length need.

        Raises ArtifactError for a graph that is none of an encoder, DeviceError when CUDA does not compute it."""
        part = ENCODER_FLOAT16 if ENCODER_FLOAT16 in bundle.manifest.parts else ENCODER
        info = bundle.manifest.encoder
        # A text's bigrams come behind its tokens, one fewer than these at most.
        longest = info.max_tokens * (2 if info.bigrams else 1)
        return cls(
            bundle.read(part),
            dimension=info.dimension,
            buckets=buckets or Buckets.up_to(longest),
            place=place,
            source=bundle.folder / part,
        )

    def embed(self, tokens: TokenBatch) -> NDArray[np.float32]:
        """Unit vectors, float32 (texts, dimension); zero for a text without tokens."""
        vectors = np.empty((len(tokens), self.dimension), dtype=np.float32)
        for rows, found in self.parts(tokens):
            vectors[rows] = found.on_host()
        return vectors

    def parts(self, tokens: TokenBatch) -> Iterator[tuple[NDArray[np.int64], DeviceVectors]]:
        """Rows of the batch and their vectors on the device, to be used before the next are asked for."""
        for rows, bucket in self._buckets.parts(tokens):
            yield rows, DeviceVectors(self._runs[bucket].run(*padded(tokens, rows, bucket)), len(rows))

    def _open(self, model: bytes, bucket: Bucket, source: Path) -> _BucketRun:
        try:
            return _BucketRun(open_session(model, self.place, replay=self._replay), bucket, self.dimension, self.place)
        except DeviceError:
            raise
        except Exception as error:  # onnxruntime raises classes of its own, derived from Exception
            if self._replay and _REFUSES_RECORDING in str(error):
                self._replay = False
                self.notes.append("runs are not recorded: the graph leaves nodes to the CPU")
                return self._open(model, bucket, source)
            raise ArtifactError(
                f"onnxruntime cannot load the encoder for {self.place}: {error}", file=source
            ) from error

    def _check(self, graph: Any, source: Path) -> None:
        inputs = [each.name for each in graph.graph.input]
        if set(inputs) - set(_INPUTS) or "input_ids" not in inputs:
            raise ArtifactError(
                f"the graph has inputs {inputs}; allowed: {', '.join(_INPUTS)}", file=source, field="inputs"
            )
        found = graph.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
        if found != self.dimension:
            raise ArtifactError(
                f"the encoder makes vectors of dimension {found}, the manifest says {self.dimension}",
                file=source.with_name(MANIFEST),
                field="encoder.dimension",
            )


class _BucketRun:
    """A session for one shape with its buffers bound to it once; a run writes tokens, launches, and returns vectors."""

    def __init__(self, session: Any, bucket: Bucket, dimension: int, place: Place) -> None:
        self._session = session
        self._binding = session.io_binding()
        shape = (bucket.texts, bucket.length)
        self._values = {}
        for graph_input in session.get_inputs():
            weights = graph_input.name == "token_weights"
            start = np.zeros((bucket.texts, 1, bucket.length), np.uint8) if weights else np.zeros(shape, np.int64)
            value = uploaded(start, place)
            self._values[graph_input.name] = value
            self._binding.bind_ortvalue_input(graph_input.name, value)
        self._vectors = buffer((bucket.texts, dimension), np.float32, place)
        self._binding.bind_ortvalue_output(session.get_outputs()[0].name, self._vectors)
        # The first run allocates and, where runs are replayed, records.
        for _ in range(2):
            self.run(np.zeros(shape, dtype=np.int64), np.ones(shape, dtype=np.int64))

    def run(self, ids: NDArray[np.int64], is_token: NDArray[np.int64]) -> Any:
        """Both int64 (texts, length). The OrtValue that holds the vectors, float32 (texts, dimension)."""
        self._values["input_ids"].update_inplace(ids)
        if "attention_mask" in self._values:
            self._values["attention_mask"].update_inplace(is_token)
        if "token_weights" in self._values:
            self._values["token_weights"].update_inplace(is_token.astype(np.uint8)[:, None, :])
        # onnxruntime waits for its stream at the end, so whoever reads the vectors next finds them written.
        self._session.run_with_iobinding(self._binding)
        return self._vectors

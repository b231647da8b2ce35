"""Token ids to unit vectors, by an ONNX graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from guidealign_engine import _native
from guidealign_engine.batches import TokenBatch
from guidealign_engine.bundle import ENCODER, MANIFEST, Bundle
from guidealign_engine.errors import ArtifactError
from guidealign_engine.optional_packages import import_optional

# Texts of like length share a run. Fewer, longer runs give threads fewer moments to wait for each other.
_IDS_PER_RUN = 4096

# Of a transformer: input_ids, attention_mask, token_type_ids. Of a static student: input_ids, token_weights.
_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "token_weights")


class Encoder(Protocol):
    """Anything that embeds token ids."""

    dimension: int

    def embed(self, tokens: TokenBatch) -> NDArray[np.float32]:
        """Unit vectors, float32 (texts, dimension); zero for a text without tokens."""
        ...


class OnnxEncoder:
    """An ONNX graph on the CPU, from token ids and what else of _INPUTS it asks for to unit vectors."""

    def __init__(self, model: bytes, *, dimension: int, threads: int, source: Path) -> None:
        runtime = import_optional("onnxruntime", package="onnxruntime", extra="cpu", purpose="encoding")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Both are shared by all threads of a session behind a lock: two threads took turns there.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        # A spinning pool burns the core that the next stage needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Weights outside the file are looked for in the bundle and nowhere else.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(source.parent))
        try:
            self._session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises classes of its own, derived from Exception
            raise ArtifactError(f"onnxruntime cannot load the encoder: {error}", file=source) from error
        self._inputs = [graph_input.name for graph_input in self._session.get_inputs()]
        unknown = set(self._inputs) - set(_INPUTS)
        if unknown or "input_ids" not in self._inputs:
            raise ArtifactError(
                f"the graph has inputs {self._inputs}; allowed: {', '.join(_INPUTS)}",
                file=source,
                field="inputs",
            )
        output = self._session.get_outputs()[0]
        self._outputs = [output.name]
        found = output.shape[-1]
        if found != dimension:
            raise ArtifactError(
                f"the encoder makes vectors of dimension {found}, the manifest says {dimension}",
                file=source.with_name(MANIFEST),
                field="encoder.dimension",
            )
        self.dimension = dimension

    @classmethod
    def from_bundle(cls, bundle: Bundle, *, threads: int) -> OnnxEncoder:
        """Raises ArtifactError when the graph cannot be loaded or has another dimension than the manifest says."""
        info = bundle.manifest.encoder
        encoder = cls(bundle.read(ENCODER), dimension=info.dimension, threads=threads, source=bundle.folder / ENCODER)
        try:
            encoder.embed(TokenBatch.of([np.array([info.vocabulary + info.bigrams - 1], dtype=np.int64)]))
        except Exception as error:  # onnxruntime raises classes of its own, derived from Exception
            raise ArtifactError(
                f"the encoder does not take {info.vocabulary} tokens; it belongs to another tokenizer: {error}",
                file=bundle.folder / ENCODER,
            ) from error
        return encoder

    def embed(self, tokens: TokenBatch) -> NDArray[np.float32]:
        """Unit vectors, float32 (texts, dimension); zero for a text without tokens."""
        if len(tokens) == 1:
            return self._run(tokens.ids.reshape(1, -1), None) if len(tokens.ids) else self._run_nothing(1)
        vectors = np.empty((len(tokens), self.dimension), dtype=np.float32)
        for rows, ids, is_token in _native.padded_runs(tokens.ids, tokens.offsets, _IDS_PER_RUN):
            vectors[rows] = self._run(ids, is_token) if ids.size else self._run_nothing(len(rows))
        return vectors

    def _run_nothing(self, rows: int) -> NDArray[np.float32]:
        """Texts without tokens: a row of padding each, since graphs do not take rows of no columns."""
        return self._run(np.zeros((rows, 1), dtype=np.int64), np.zeros((rows, 1), dtype=np.uint8))

    def _run(self, ids: NDArray[np.int64], is_token: NDArray[np.uint8] | None) -> NDArray[np.float32]:
        """ids: int64 (texts, length); is_token: 1 for those that are no padding, None for all."""
        mask = np.ones(ids.shape, dtype=np.uint8) if is_token is None else is_token
        feeds: dict[str, Any] = {"input_ids": ids}
        if "token_weights" in self._inputs:
            feeds["token_weights"] = mask[:, None, :]
        if "attention_mask" in self._inputs:
            feeds["attention_mask"] = mask.astype(np.int64)
        if "token_type_ids" in self._inputs:
            feeds["token_type_ids"] = np.zeros_like(ids)
        vectors: NDArray[np.float32] = self._session.run(self._outputs, feeds)[0]
        return vectors

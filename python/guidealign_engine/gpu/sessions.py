"""ONNX sessions on a GPU, and the buffers that they read and write there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.devices import CUDA_PROVIDER
from guidealign_engine.errors import DeviceError
from guidealign_engine.gpu.libraries import load_libraries
from guidealign_engine.optional_packages import import_optional

# Nodes that work out shapes are on the CPU on purpose. Any of these there means that the encoder is.
_COMPUTING = frozenset({"MatMul", "Gemm", "MatMulInteger", "Attention", "MultiHeadAttention", "Softmax"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where sessions run and buffers lie: a GPU, or the CPU, which answers the same."""

    kind: str = "cuda"
    number: int = 0
    stream: int | None = None
    """A CUDA stream that sessions share with what comes before and after them; None for one of their own."""

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}" if self.kind == "cuda" else self.kind

    def providers(self, *, replay: bool) -> list[Any]:
        """What onnxruntime is asked for. replay: record a run's kernels once and launch them together later."""
        if self.kind == "cpu":
            return ["CPUExecutionProvider"]
        options = {
            "device_id": str(self.number),
            "enable_cuda_graph": "1" if replay else "0",
            # TF32 keeps 10 bits of a float32: scores would differ from the CPU's in the third digit.
            "use_tf32": "0",
            "arena_extend_strategy": "kSameAsRequested",
        }
        if self.stream is not None:
            options["user_compute_stream"] = str(self.stream)
        return [(CUDA_PROVIDER, options), "CPUExecutionProvider"]


def import_runtime() -> ModuleType:
    return import_optional("onnxruntime", package="onnxruntime-gpu", extra="gpu", purpose="encoding on a GPU")


def open_session(model: bytes, place: Place, *, replay: bool) -> Any:
    """A session whose computing nodes are where they were asked to be.

    Raises DeviceError where onnxruntime would compute elsewhere, whatever `onnxruntime` itself raises for a bad graph.
    """
    runtime = import_runtime()
    if place.kind == "cuda":
        load_libraries(int((getattr(runtime, "cuda_version", "") or "0").split(".")[0]))
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = runtime.InferenceSession(model, options, providers=place.providers(replay=replay))
    check_providers(session.get_providers(), place)
    session.disable_fallback()
    if place.kind == "cuda":
        check_placement(nodes_by_provider(session), place)
    return session


def check_providers(found: Sequence[str], place: Place) -> None:
    """Raises DeviceError unless the session's first provider is the one for the place."""
    wanted = CUDA_PROVIDER if place.kind == "cuda" else "CPUExecutionProvider"
    if not found or found[0] != wanted:
        raise DeviceError(
            f"{place} was asked for, and onnxruntime took {', '.join(found)}: its CUDA libraries did not load; "
            '"guidealign doctor" says which are missing'
        )


def check_placement(nodes: Mapping[str, Counter[str]], place: Place) -> None:
    """Raises DeviceError when a node that computes is on the CPU. nodes: kinds of node by provider."""
    elsewhere = nodes.get("CPUExecutionProvider", Counter())
    computing = sorted(_COMPUTING & elsewhere.keys())
    if computing or (CUDA_PROVIDER not in nodes and elsewhere):
        raise DeviceError(
            f"{place} was asked for, and onnxruntime would compute {', '.join(computing) or 'all nodes'} of the graph "
            "on the CPU: this build has no CUDA kernel for them; export the encoder in float16 or float32"
        )


def nodes_by_provider(session: Any) -> dict[str, Counter[str]]:
    """How many nodes of each kind each provider has."""
    nodes: dict[str, Counter[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        nodes.setdefault(part.ep_name, Counter()).update(node.op_type for node in part.get_nodes())
    return nodes


def buffer(shape: Sequence[int], dtype: Any, place: Place) -> Any:
    """An uninitialised OrtValue of a fixed address on the device."""
    return import_runtime().OrtValue.ortvalue_from_shape_and_type(list(shape), dtype, place.kind, place.number)


def uploaded(array: NDArray[Any], place: Place) -> Any:
    """An array on the device, as an OrtValue; on the CPU it shares the array's memory."""
    contiguous = np.ascontiguousarray(array)
    return import_runtime().OrtValue.ortvalue_from_numpy(contiguous, place.kind, place.number)

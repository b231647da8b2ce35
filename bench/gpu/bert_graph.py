"""A transformer student of a given size as an ONNX graph, in float16, with weights drawn at random.

Time depends on shapes and not on what was learnt, so this stands in where no trained student was brought along.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_OPSET = 20


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a BERT-like encoder; as given, that of all-MiniLM-L6-v2."""

    layers: int = 6
    width: int = 384
    heads: int = 12
    inner: int = 1536
    vocabulary: int = 30_000
    positions: int = 512
    dimension: int = 256

    @property
    def weights(self) -> int:
        """Of the layers and the projection, each of which multiplies every token; embeddings are looked up."""
        return self.layers * (4 * self.width**2 + 2 * self.width * self.inner) + self.width * self.dimension

    def flop(self, texts: int, length: int) -> float:
        """Multiplications and additions of a run, attention included."""
        attention = 4 * self.layers * texts * length**2 * self.width
        return 2.0 * self.weights * texts * length + attention


def transformer_graph(shape: Shape, *, seed: int = 0) -> bytes:
    """input_ids, attention_mask int64 (batch, length) -> vectors float32 (batch, dimension) of unit length."""
    return _Writer(shape, seed).model().SerializeToString()


class _Writer:
    def __init__(self, shape: Shape, seed: int) -> None:
        self._shape = shape
        self._draw = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def model(self) -> onnx.ModelProto:
        size = self._shape
        self._constant("zeros", np.array([0], dtype=np.int64))
        self._constant("ones", np.array([1], dtype=np.int64))
        self._constant("axes_12", np.array([1, 2], dtype=np.int64))
        self._constant("in_heads", np.array([0, 0, size.heads, size.width // size.heads], dtype=np.int64))
        self._constant("joined", np.array([0, 0, size.width], dtype=np.int64))
        self._constant("one", np.float16(1.0))
        self._constant("far", np.float16(-10_000.0))
        self._constant("per_head", np.float16(1 / np.sqrt(size.width // size.heads)))
        for name, rows in (("words", size.vocabulary), ("places", size.positions)):
            self._constant(name, self._random(rows, size.width))
        states = self._embedded()
        for layer in range(size.layers):
            states = self._layer(f"layer{layer}", states)
        self._pooled(states)
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
            for name in ("input_ids", "attention_mask")
        ]
        output = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", size.dimension])
        graph = helper.make_graph(self._nodes, "student", inputs, [output], self._constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=9)
        onnx.checker.check_model(made)
        return made

    def _embedded(self) -> str:
        self._node("Shape", ["input_ids"], "length", start=1, end=2)
        self._node("Slice", ["places", "zeros", "length", "zeros"], "used_places")
        self._node("Gather", ["words", "input_ids"], "looked_up")
        self._node("Add", ["looked_up", "used_places"], "placed")
        self._node("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT16)
        self._node("Sub", ["one", "mask"], "padding")
        self._node("Mul", ["padding", "far"], "far_2d")
        self._node("Unsqueeze", ["far_2d", "axes_12"], "bias")
        return self._normed("embedding", "placed")

    def _layer(self, name: str, states: str) -> str:
        for part, turned in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
            self._dense(f"{name}/{part}", states, self._shape.width, self._shape.width)
            self._node("Reshape", [f"{name}/{part}", "in_heads"], f"{name}/{part}/heads")
            self._node("Transpose", [f"{name}/{part}/heads"], f"{name}/{part}/turned", perm=turned)
        self._node("MatMul", [f"{name}/query/turned", f"{name}/key/turned"], f"{name}/products")
        self._node("Mul", [f"{name}/products", "per_head"], f"{name}/scaled")
        self._node("Add", [f"{name}/scaled", "bias"], f"{name}/masked")
        self._node("Softmax", [f"{name}/masked"], f"{name}/shares", axis=-1)
        self._node("MatMul", [f"{name}/shares", f"{name}/value/turned"], f"{name}/seen")
        self._node("Transpose", [f"{name}/seen"], f"{name}/seen/turned", perm=[0, 2, 1, 3])
        self._node("Reshape", [f"{name}/seen/turned", "joined"], f"{name}/seen/joined")
        self._dense(f"{name}/out", f"{name}/seen/joined", self._shape.width, self._shape.width)
        self._node("Add", [f"{name}/out", states], f"{name}/attended")
        middle = self._normed(f"{name}/attention", f"{name}/attended")
        self._dense(f"{name}/wide", middle, self._shape.width, self._shape.inner)
        self._node("Gelu", [f"{name}/wide"], f"{name}/active")
        self._dense(f"{name}/narrow", f"{name}/active", self._shape.inner, self._shape.width)
        self._node("Add", [f"{name}/narrow", middle], f"{name}/summed")
        return self._normed(f"{name}/output", f"{name}/summed")

    def _pooled(self, states: str) -> None:
        self._node("Unsqueeze", ["mask", "ones"], "mask_row")
        self._node("MatMul", ["mask_row", states], "sum_3d")
        self._node("Squeeze", ["sum_3d", "ones"], "sum")
        self._constant("projection", self._random(self._shape.width, self._shape.dimension))
        self._node("MatMul", ["sum", "projection"], "projected")
        self._node("Cast", ["projected"], "floats", to=TensorProto.FLOAT)
        self._node("LpNormalization", ["floats"], "vectors", axis=-1, p=2)

    def _dense(self, name: str, states: str, rows: int, columns: int) -> None:
        self._constant(f"{name}/weight", self._random(rows, columns))
        self._constant(f"{name}/bias", np.zeros(columns, dtype=np.float16))
        self._node("MatMul", [states, f"{name}/weight"], f"{name}/product")
        self._node("Add", [f"{name}/product", f"{name}/bias"], name)

    def _normed(self, name: str, states: str) -> str:
        self._constant(f"{name}/gain", np.ones(self._shape.width, dtype=np.float16))
        self._constant(f"{name}/shift", np.zeros(self._shape.width, dtype=np.float16))
        self._node("LayerNormalization", [states, f"{name}/gain", f"{name}/shift"], f"{name}/normed", axis=-1)
        return f"{name}/normed"

    def _random(self, rows: int, columns: int) -> NDArray[np.float16]:
        drawn = self._draw.standard_normal((rows, columns), dtype=np.float32) / np.sqrt(np.float32(rows))
        return drawn.astype(np.float16)

    def _constant(self, name: str, value: NDArray[np.generic] | np.generic) -> None:
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: int | list[int]) -> None:
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))

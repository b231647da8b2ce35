"""Weights in int8, and activations quantised while the graph runs, each token by itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

# Two products of 8 bits are added in 16 where a processor lacks VNNI: 2 · 255 · 64 still fits, so none saturates, and
# all processors agree.
_WEIGHT_LEVELS = 64
_ACTIVATION_LEVELS = 127
_MIDDLE = 128
_LARGEST_TABLE_TO_KEEP = 4096
"""Rows of a table (of positions, of kinds of token) that is looked up in float32."""


def quantise_rows(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with each product by a weight matrix, and each lookup in a large table, computed from int8.

    Weights have a scale a column, tables a scale a row, and activations one a token, found as the graph runs (as in
    ZeroQuant, Yao et al., 2022). onnxruntime's own dynamic quantisation has one scale for all activations of a run:
    there the same text, alone and in a batch, had vectors with a cosine of 0.98 (all-MiniLM-L6-v2). Here it depends on
    itself alone, for about the same time.
    """
    quantised = onnx.ModelProto()
    quantised.CopyFrom(model)
    graph = quantised.graph
    weights = {each.name: each for each in graph.initializer}
    rewriter = _Rewriter(weights)
    nodes = [made for node in graph.node for made in rewriter.rewritten(node)]
    used = {name for node in nodes for name in node.input}
    kept = [each for each in graph.initializer if each.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*kept, *rewriter.constants])
    onnx.checker.check_model(quantised)
    return quantised


class _Rewriter:
    """Rewrites node by node; an activation that several products read is quantised once."""

    def __init__(self, weights: dict[str, onnx.TensorProto]) -> None:
        self._weights = weights
        self._rounded = set[str]()
        self._written = set[str]()
        self.constants = [
            numpy_helper.from_array(np.float32(_ACTIVATION_LEVELS), "int8/levels"),
            numpy_helper.from_array(np.float32(_MIDDLE), "int8/middle"),
            numpy_helper.from_array(np.uint8(_MIDDLE), "int8/zero_point"),
            numpy_helper.from_array(np.float32(1e-30), "int8/tiny"),
            numpy_helper.from_array(np.array([-1], dtype=np.int64), "int8/last_axis"),
        ]

    def rewritten(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        if node.op_type == "MatMul" and self._shape(node.input[1]) == 2:
            yield from self._product(node)
        elif node.op_type == "Gather" and self._is_large_table(node):
            yield from self._lookup(node)
        else:
            yield node

    def _product(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        activation, weight = node.input
        (output,) = node.output
        if activation not in self._rounded:
            self._rounded.add(activation)
            yield from _round_rows(activation)
        self._write(weight, axis=0, levels=_WEIGHT_LEVELS)
        yield helper.make_node(
            "MatMulInteger", [f"{activation}/int8", f"{weight}/int8", "int8/zero_point"], [f"{output}/sum"]
        )
        yield helper.make_node("Cast", [f"{output}/sum"], [f"{output}/float"], to=TensorProto.FLOAT)
        yield helper.make_node("Mul", [f"{output}/float", f"{activation}/scale"], [f"{output}/row_scaled"])
        yield helper.make_node("Mul", [f"{output}/row_scaled", f"{weight}/scale"], [output])

    def _lookup(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        table, ids = node.input
        (output,) = node.output
        self._write(table, axis=1, levels=_ACTIVATION_LEVELS)
        yield helper.make_node("Gather", [f"{table}/int8", ids], [f"{output}/int8"], axis=0)
        yield helper.make_node("Gather", [f"{table}/scale", ids], [f"{output}/scale"], axis=0)
        yield helper.make_node("Cast", [f"{output}/int8"], [f"{output}/float"], to=TensorProto.FLOAT)
        yield helper.make_node("Mul", [f"{output}/float", f"{output}/scale"], [output])

    def _write(self, weight: str, *, axis: int, levels: int) -> None:
        if weight in self._written:
            return
        self._written.add(weight)
        values: NDArray[np.float32] = numpy_helper.to_array(self._weights[weight]).astype(np.float32)
        scale = np.maximum(np.abs(values).max(axis=axis, keepdims=True), 1e-30) / levels
        rounded = np.clip(np.rint(values / scale), -levels, levels).astype(np.int8)
        scale = (scale[0] if axis == 0 else scale).astype(np.float32)
        self.constants += [
            numpy_helper.from_array(rounded, f"{weight}/int8"),
            numpy_helper.from_array(scale, f"{weight}/scale"),
        ]

    def _shape(self, name: str) -> int:
        return len(self._weights[name].dims) if name in self._weights else 0

    def _is_large_table(self, node: onnx.NodeProto) -> bool:
        axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
        table = node.input[0]
        return axis == 0 and self._shape(table) == 2 and self._weights[table].dims[0] > _LARGEST_TABLE_TO_KEEP


def _round_rows(name: str) -> Iterator[onnx.NodeProto]:
    """uint8 around 128, and the scale of each row, which is 0 up to rounding for a row of zeros."""
    yield helper.make_node("Abs", [name], [f"{name}/abs"])
    yield helper.make_node("ReduceMax", [f"{name}/abs", "int8/last_axis"], [f"{name}/max"], keepdims=1)
    yield helper.make_node("Max", [f"{name}/max", "int8/tiny"], [f"{name}/largest"])
    yield helper.make_node("Div", [f"{name}/largest", "int8/levels"], [f"{name}/scale"])
    yield helper.make_node("Div", [name, f"{name}/scale"], [f"{name}/levels"])
    yield helper.make_node("Round", [f"{name}/levels"], [f"{name}/rounded"])
    yield helper.make_node("Add", [f"{name}/rounded", "int8/middle"], [f"{name}/shifted"])
    yield helper.make_node("Cast", [f"{name}/shifted"], [f"{name}/int8"], to=TensorProto.UINT8)

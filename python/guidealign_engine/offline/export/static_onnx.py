"""A static student as an ONNX graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


@dataclass(frozen=True, slots=True)
class QuantisedTable:
    """A token table in int8: element (token, d) is values[token, d] * scales[d].

    One scale a dimension and not one a token: sums over tokens are then sums of integers, exact and independent of
    order, padding and batch.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float32]

    @classmethod
    def quantise(cls, table: NDArray[np.float32], *, quantile: float = 0.9999) -> QuantisedTable:
        """Rounds to int8; values beyond the quantile of their dimension are clipped to it."""
        scales = (np.quantile(np.abs(table), quantile, axis=0) / 127.0).astype(np.float32)
        scales = np.maximum(scales, np.finfo(np.float32).tiny)
        values = np.clip(np.rint(table / scales), -127, 127).astype(np.int8)
        return cls(values, scales)


def export_static(table: QuantisedTable) -> onnx.ModelProto:
    """input_ids int64 (batch, length), token_weights uint8 (batch, 1, length) -> vectors float32 (batch, dimension).

    The weights are 1 for a token and 0 for padding. Vectors have unit length, or are zero for a text without tokens.
    The sum over tokens is an integer matrix product, much faster on long texts than a cast and a ReduceSum.
    """
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["tokens"], axis=0),
        helper.make_node("MatMulInteger", ["token_weights", "tokens"], ["total"]),
        helper.make_node("Squeeze", ["total", "length_axis"], ["total_row"]),
        helper.make_node("Cast", ["total_row"], ["total_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["total_float", "scales"], ["summed"]),
        helper.make_node("LpNormalization", ["summed"], ["vectors"], axis=-1, p=2),
    ]
    dimension = table.values.shape[1]
    graph = helper.make_graph(
        nodes,
        "static_student",
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"]),
            helper.make_tensor_value_info("token_weights", TensorProto.UINT8, ["batch", 1, "length"]),
        ],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", dimension])],
        [
            numpy_helper.from_array(table.values, "table"),
            numpy_helper.from_array(table.scales, "scales"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "length_axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model)
    return model

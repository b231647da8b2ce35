"""The number formats that a graph can be written in."""

from __future__ import annotations

import warnings
from enum import StrEnum

import onnx

from guidealign_engine.offline.export.row_int8 import quantise_rows


class Precision(StrEnum):
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"


def in_precision(model: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """The float32 graph in another precision; inputs stay int64, outputs float32.

    float16 halves the file: a CPU computes in float32 all the same.
    """
    if precision is Precision.INT8:
        return quantise_rows(model)
    if precision is Precision.FLOAT16:
        from onnxruntime.transformers.float16 import convert_float_to_float16

        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        with warnings.catch_warnings():
            # Each constant beyond float16, such as the mask of padding, is cut to its range, as it should be.
            warnings.simplefilter("ignore")
            halved: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True)
        return halved
    return model

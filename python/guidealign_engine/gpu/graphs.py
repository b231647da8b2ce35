"""ONNX graphs as a GPU takes them: products of integers as floats that hold them exactly, shapes fixed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from guidealign_engine.optional_packages import import_optional

_TINY = 1e-30


def import_onnx() -> ModuleType:
    return import_optional("onnx", package="onnx", extra="gpu", purpose="an encoder on a GPU")


def fit_for_cuda(model: Any) -> bool:
    """Rewrites the nodes for which CUDA has no kernel; whether there were products of integers among them.

    uint8 times int8 becomes a product of float32: each sum of up to 2,000 such products stays below 2**24, so it is the
    same integer. Unit length is computed by a product with ones, which needs no reduction from cuDNN.
    """
    onnx = import_onnx()
    nodes = list(model.graph.node)
    rewritten = [made for node in nodes for made in _rewritten(onnx, node)]
    del model.graph.node[:]
    model.graph.node.extend(rewritten)
    for name, value in (("cuda/tiny", np.float32(_TINY)), ("cuda/ones", _ones(model))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return any(node.op_type == "MatMulInteger" for node in nodes)


def with_shape(model: Any, sizes: Mapping[str, int]) -> bytes:
    """The graph with inputs of a fixed shape: what depends on it alone is then computed at load and not by the CPU.

    sizes: by the name of a dimension of the inputs.
    """
    fixed = import_onnx().ModelProto()
    fixed.CopyFrom(model)
    for graph_input in fixed.graph.input:
        for dimension in graph_input.type.tensor_type.shape.dim:
            if dimension.dim_param in sizes:
                dimension.dim_value = sizes[dimension.dim_param]
    # Shapes that were inferred before would contradict those of now.
    del fixed.graph.value_info[:]
    content: bytes = fixed.SerializeToString()
    return content


def input_dimensions(model: Any) -> tuple[str, str]:
    """What the graph calls the number of texts and of tokens in them."""
    shape = next(each for each in model.graph.input if each.name == "input_ids").type.tensor_type.shape
    texts, length = (dimension.dim_param for dimension in shape.dim)
    return texts, length


def _rewritten(onnx: ModuleType, node: Any) -> Iterator[Any]:
    make = onnx.helper.make_node
    if node.op_type == "MatMulInteger":
        factors = []
        for place, name in enumerate(node.input[:2]):
            floats = f"{node.output[0]}/factor_{place}"
            yield make("Cast", [name], [floats], to=onnx.TensorProto.FLOAT)
            zero_point = node.input[2 + place] if len(node.input) > 2 + place else ""
            if zero_point:
                yield make("Cast", [zero_point], [f"{floats}/zero"], to=onnx.TensorProto.FLOAT)
                yield make("Sub", [floats, f"{floats}/zero"], [f"{floats}/centred"])
                floats = f"{floats}/centred"
            factors.append(floats)
        yield make("MatMul", factors, list(node.output))
    elif node.op_type == "LpNormalization":
        (values,), (unit,) = node.input, node.output
        yield make("Mul", [values, values], [f"{unit}/squares"])
        yield make("MatMul", [f"{unit}/squares", "cuda/ones"], [f"{unit}/sum"])
        yield make("Sqrt", [f"{unit}/sum"], [f"{unit}/length"])
        yield make("Max", [f"{unit}/length", "cuda/tiny"], [f"{unit}/divisor"])
        yield make("Div", [values, f"{unit}/divisor"], [unit])
    else:
        yield node


def _ones(model: Any) -> Any:
    dimension = model.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
    return np.ones((dimension, 1), dtype=np.float32)

"""A sentence-transformers model as one ONNX graph, from the token ids of a text to its unit vector."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper

from guidealign_engine.offline.export.sentence_model import Markers, SentenceModel

OPSET = 18
_FLOAT, _INT = TensorProto.FLOAT, TensorProto.INT64


def export_transformer(model: SentenceModel, scratch: Path) -> onnx.ModelProto:
    """The model's own modules by optimum: input_ids, attention_mask int64 (batch, length) -> sentence_embedding.

    Not optimised: the fusions of onnxruntime's optimiser gained nothing in time on the CPU (all-MiniLM-L6-v2, 15 and
    510 tokens), and quantisers read the plain graph. `scratch` is a folder for the file that optimum writes.
    """
    from optimum.exporters.onnx import onnx_export_from_model

    with tempfile.TemporaryDirectory(dir=scratch) as folder, warnings.catch_warnings():
        # What tracing takes for constant is: that mask and states have one length.
        warnings.simplefilter("ignore")
        onnx_export_from_model(model.model, folder, task="feature-extraction", opset=OPSET, do_validation=False)
        graph: onnx.ModelProto = onnx.load(str(Path(folder) / "model.onnx"))
    for output in [each for each in graph.graph.output if each.name != "sentence_embedding"]:
        graph.graph.output.remove(output)
    return graph


def whole_graph(
    transformer: onnx.ModelProto, markers: Markers, max_tokens: int, projection: NDArray[np.float32]
) -> onnx.ModelProto:
    """input_ids, attention_mask int64 (batch, length) -> vectors float32 (batch, dimension); padding is on the right.

    Before the transformer, ids are cut and set between the markers, so that an engine's tokenizer need not know them.
    After it, vectors are projected and scaled to unit length, or zero for a text without tokens.
    """
    before = _around(markers, max_tokens, transformer)
    after = _projected(projection, transformer)
    graph = compose.merge_models(
        before,
        compose.add_prefix(transformer, "transformer/"),
        io_map=[("marked_ids", "transformer/input_ids"), ("marked_mask", "transformer/attention_mask")],
    )
    graph = compose.merge_models(
        graph,
        after,
        io_map=[("transformer/sentence_embedding", "sentence_embedding"), ("has_tokens", "any_tokens")],
    )
    onnx.checker.check_model(graph)
    return graph


def _around(markers: Markers, max_tokens: int, like: onnx.ModelProto) -> onnx.ModelProto:
    """Cuts to the tokens that fit, and sets the markers before the first and after the last of each row."""
    first, last = len(markers.before), len(markers.after)
    constants = {
        "start": [0],
        "end": [max_tokens - markers.count],
        "columns": [1],
        "before_ids": [markers.before],
        "before_mask": [[1] * first],
        "after_ids": [[markers.padding] * last],
        "after_mask": [[0] * last],
        "zero": 0,
        "one": 1,
        "padding": markers.padding,
        "first": first,
    }
    nodes = [
        helper.make_node("Slice", ["input_ids", "start", "end", "columns"], ["ids"]),
        helper.make_node("Slice", ["attention_mask", "start", "end", "columns"], ["mask"]),
        helper.make_node("ReduceSum", ["mask", "columns"], ["count"], keepdims=1),
        helper.make_node("Greater", ["count", "zero"], ["is_text"]),
        helper.make_node("Cast", ["is_text"], ["has_tokens"], to=_FLOAT),
        helper.make_node("Cast", ["mask"], ["is_token"], to=TensorProto.BOOL),
        helper.make_node("Where", ["is_token", "ids", "padding"], ["clean_ids"]),
        # Rows of one length: markers that every row begins with, and room for those after the last token.
        helper.make_node("Shape", ["ids"], ["rows"], start=0, end=1),
        helper.make_node("Concat", ["rows", "columns"], ["one_a_row"], axis=0),
    ]
    for part, middle in (("ids", "clean_ids"), ("mask", "mask")):
        nodes += [
            helper.make_node("Expand", [f"before_{part}", "one_a_row"], [f"rows_before_{part}"]),
            helper.make_node("Expand", [f"after_{part}", "one_a_row"], [f"rows_after_{part}"]),
            helper.make_node(
                "Concat", [f"rows_before_{part}", middle, f"rows_after_{part}"], [f"marked_{part}_0"], axis=1
            ),
        ]
    nodes += [
        helper.make_node("Shape", ["marked_ids_0"], ["length_1d"], start=1, end=2),
        helper.make_node("Squeeze", ["length_1d"], ["length"]),
        helper.make_node("Range", ["zero", "length", "one"], ["places"]),
        helper.make_node("Add", ["count", "first"], ["place_0"]),
    ]
    for number, marker in enumerate(markers.after):
        constants |= {f"marker_{number}": marker}
        nodes += [
            helper.make_node("Equal", ["places", f"place_{number}"], [f"is_marker_{number}"]),
            helper.make_node(
                "Where",
                [f"is_marker_{number}", f"marker_{number}", f"marked_ids_{number}"],
                [f"marked_ids_{number + 1}"],
            ),
            helper.make_node(
                "Where", [f"is_marker_{number}", "one", f"marked_mask_{number}"], [f"marked_mask_{number + 1}"]
            ),
            helper.make_node("Add", [f"place_{number}", "one"], [f"place_{number + 1}"]),
        ]
    nodes += [helper.make_node("Identity", [f"marked_{part}_{last}"], [f"marked_{part}"]) for part in ("ids", "mask")]
    return _model(
        "markers",
        nodes,
        [_value(name, _INT, "batch", "length") for name in ("input_ids", "attention_mask")],
        [
            *[_value(name, _INT, "batch", "marked_length") for name in ("marked_ids", "marked_mask")],
            _value("has_tokens", _FLOAT, "batch", 1),
        ],
        {name: np.array(value, dtype=np.int64) for name, value in constants.items()},
        like,
    )


def _projected(projection: NDArray[np.float32], like: onnx.ModelProto) -> onnx.ModelProto:
    width, dimension = projection.shape
    nodes = [
        helper.make_node("MatMul", ["sentence_embedding", "projection"], ["projected"]),
        helper.make_node("Mul", ["projected", "any_tokens"], ["of_texts"]),
        helper.make_node("LpNormalization", ["of_texts"], ["vectors"], axis=-1, p=2),
    ]
    inputs = [_value("sentence_embedding", _FLOAT, "batch", width), _value("any_tokens", _FLOAT, "batch", 1)]
    outputs = [_value("vectors", _FLOAT, "batch", dimension)]
    return _model("projection", nodes, inputs, outputs, {"projection": projection}, like)


def _model(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: dict[str, NDArray[np.int64] | NDArray[np.float32]],
    like: onnx.ModelProto,
) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(value, key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, name, inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=like.opset_import, ir_version=like.ir_version)


def _value(name: str, kind: int, *shape: str | int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)

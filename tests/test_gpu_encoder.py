"""The encoder of GPUs, run on the CPU: same code, same graphs, same bound buffers, and vectors that agree."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidealign_engine.batches import TokenBatch
from guidealign_engine.bundle import ENCODER, open_bundle
from guidealign_engine.encoder import OnnxEncoder
from guidealign_engine.errors import ArtifactError, DeviceError
from guidealign_engine.gpu.buckets import Bucket, Buckets, padded
from guidealign_engine.gpu.encoder import CudaEncoder
from guidealign_engine.gpu.graphs import fit_for_cuda, input_dimensions, with_shape
from guidealign_engine.gpu.sessions import Place, check_placement, check_providers, nodes_by_provider, open_session
from guidealign_engine.offline.export.row_int8 import quantise_rows

CPU = Place("cpu")
SMALL = Buckets((1, 4), (8, 32))
LENGTHS = st.lists(st.integers(0, 32), min_size=1, max_size=19)


def batch_of(lengths: list[int], vocabulary: int = 50) -> TokenBatch:
    draw = np.random.default_rng(len(lengths))
    return TokenBatch.of([draw.integers(0, vocabulary, length).astype(np.int64) for length in lengths])


@given(LENGTHS)
def test_every_text_is_in_one_bucket_that_holds_it(lengths: list[int]) -> None:
    parts = list(SMALL.parts(batch_of(lengths)))
    assert sorted(row for rows, _ in parts for row in rows) == list(range(len(lengths)))
    for rows, bucket in parts:
        assert bucket in SMALL.all()
        assert len(rows) <= bucket.texts
        assert max(lengths[row] for row in rows) <= bucket.length


@given(LENGTHS)
def test_padding_keeps_every_token_at_its_place(lengths: list[int]) -> None:
    tokens = batch_of(lengths)
    for rows, bucket in SMALL.parts(tokens):
        ids, is_token = padded(tokens, rows, bucket)
        assert ids.shape == is_token.shape == (bucket.texts, bucket.length)
        for place, row in enumerate(rows):
            own = tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]]
            assert ids[place, : len(own)].tolist() == own.tolist()
            assert is_token[place].tolist() == [1] * len(own) + [0] * (bucket.length - len(own))
        assert not ids[len(rows) :].any()
        assert not is_token[len(rows) :].any()


@pytest.mark.parametrize(
    ("texts", "length", "bucket"),
    [(1, 1, Bucket(1, 16)), (1, 17, Bucket(1, 32)), (2, 16, Bucket(8, 16)), (64, 64, Bucket(64, 64))],
)
def test_the_smallest_bucket_is_taken(texts: int, length: int, bucket: Bucket) -> None:
    assert Buckets.up_to(512).fitting(texts, length) == bucket


def test_a_batch_that_fits_keeps_its_order_and_a_large_one_is_taken_by_length() -> None:
    buckets = Buckets.up_to(512)
    ((rows, bucket),) = buckets.parts(batch_of([9, 3, 12]))
    assert rows.tolist() == [0, 1, 2]
    assert bucket == Bucket(8, 16)
    parts = list(buckets.parts(batch_of([400] * 65 + [5] * 256)))
    assert parts[0][1] == Bucket(256, 16)
    assert all(bucket.texts * bucket.length <= 1 << 15 for _, bucket in parts)


def test_no_bucket_holds_a_text_beyond_the_longest() -> None:
    with pytest.raises(ValueError, match=r"^no bucket holds 1 texts of 33 tokens$"):
        SMALL.fitting(1, 33)


def test_lengths_end_at_what_the_encoder_reads() -> None:
    assert Buckets.up_to(512).lengths == (16, 32, 64, 256, 512)
    assert Buckets.up_to(100).lengths == (16, 32, 64, 256)
    assert Buckets.up_to(900).lengths == (16, 32, 64, 256, 512, 900)


@pytest.fixture(scope="module")
def encoders(toy_bundle: Path) -> tuple[OnnxEncoder, CudaEncoder]:
    bundle = open_bundle(toy_bundle)
    return OnnxEncoder.from_bundle(bundle, threads=1), CudaEncoder.from_bundle(bundle, place=CPU, buckets=SMALL)


@pytest.mark.parametrize("lengths", [[3], [0], [5, 0, 7], [8, 9, 1, 30], [1] * 9 + [31] * 5], ids=str)
def test_vectors_of_a_static_student_are_those_of_its_integers(
    encoders: tuple[OnnxEncoder, CudaEncoder], lengths: list[int]
) -> None:
    ours, cuda = encoders
    tokens = batch_of(lengths)
    expected = ours.embed(tokens)
    # The sums are the same integers; only the root of the sum of squares is rounded in another order.
    np.testing.assert_allclose(cuda.embed(tokens), expected, rtol=0, atol=2e-7)
    assert not expected[np.array(lengths) == 0].any()


def test_a_later_batch_leaves_nothing_of_an_earlier_one(encoders: tuple[OnnxEncoder, CudaEncoder]) -> None:
    cuda = encoders[1]
    alone = cuda.embed(batch_of([4, 4]))
    cuda.embed(batch_of([8, 8, 8, 8]))
    assert np.array_equal(cuda.embed(batch_of([4, 4])), alone)


def test_int8_is_said_to_be_computed_in_float32(encoders: tuple[OnnxEncoder, CudaEncoder]) -> None:
    assert encoders[1].notes == ["int8 computed in float32; a bundle with encoder.float16.onnx is faster"]


MARKED_GRAPH = """
<ir_version: 9, opset_import: ["" : 18]>
encoder (int64[batch, length] input_ids, int64[batch, length] attention_mask) => (float[batch, 16] vectors)
{
    tokens = Gather <axis = 0> (table, input_ids)
    shape = Shape (input_ids)
    rows = Slice (shape, zero, one)
    size = Concat <axis = 0> (rows, one)
    ones = ConstantOfShape (size)
    mask = Cast <to = 1> (attention_mask)
    mask_3d = Unsqueeze (mask, one)
    summed_3d = MatMul (mask_3d, tokens)
    summed = Squeeze (summed_3d, one)
    shifted = Add (summed, ones)
    dense = MatMul (shifted, weight)
    vectors = LpNormalization <axis = -1, p = 2> (dense)
}
"""


def contextual_graph() -> onnx.ModelProto:
    """A small encoder with an attention mask and a node that looks at shapes, as exported transformers have."""
    model = onnx.parser.parse_model(MARKED_GRAPH)
    draw = np.random.default_rng(7)
    for name, value in (
        ("table", draw.standard_normal((50, 24)).astype(np.float32)),
        ("weight", draw.standard_normal((24, 16)).astype(np.float32)),
        ("zero", np.array([0], dtype=np.int64)),
        ("one", np.array([1], dtype=np.int64)),
    ):
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return model


@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
def test_vectors_of_a_graph_with_a_mask_are_those_of_the_cpu(int8: bool, tmp_path: Path) -> None:
    model = quantise_rows(contextual_graph()) if int8 else contextual_graph()
    content, source = model.SerializeToString(), tmp_path / ENCODER
    ours = OnnxEncoder(content, dimension=16, threads=1, source=source)
    cuda = CudaEncoder(content, dimension=16, buckets=SMALL, place=CPU, source=source)
    tokens = batch_of([3, 8, 1, 20, 32, 2, 7])
    np.testing.assert_allclose(cuda.embed(tokens), ours.embed(tokens), rtol=0, atol=1e-6)
    assert bool(cuda.notes) is int8


def test_a_fixed_shape_leaves_no_node_that_looks_at_shapes() -> None:
    model = contextual_graph()
    names = input_dimensions(model)
    assert names == ("batch", "length")
    fit_for_cuda(model)
    free = nodes_by_provider(open_session(model.SerializeToString(), CPU, replay=False))
    fixed = nodes_by_provider(open_session(with_shape(model, dict(zip(names, (4, 8), strict=True))), CPU, replay=False))
    assert free["CPUExecutionProvider"]["Shape"] == 1
    assert not {"Shape", "ConstantOfShape"} & fixed["CPUExecutionProvider"].keys()


def test_no_node_is_left_that_cuda_has_no_kernel_for(toy_bundle: Path) -> None:
    model = onnx.load_from_string(open_bundle(toy_bundle).read(ENCODER))
    assert fit_for_cuda(model)
    assert not {"MatMulInteger", "LpNormalization"} & {node.op_type for node in model.graph.node}
    onnx.checker.check_model(model, full_check=True)


def test_a_session_that_fell_back_is_an_error() -> None:
    with pytest.raises(DeviceError, match=r"^cuda:1 was asked for, and onnxruntime took CPUExecutionProvider: "):
        check_providers(["CPUExecutionProvider"], Place("cuda", 1))
    check_providers(["CUDAExecutionProvider", "CPUExecutionProvider"], Place("cuda", 1))


def test_a_graph_that_would_be_computed_on_the_cpu_is_an_error(encoders: tuple[OnnxEncoder, CudaEncoder]) -> None:
    model = contextual_graph().SerializeToString()
    found = nodes_by_provider(open_session(model, CPU, replay=False))
    with pytest.raises(DeviceError, match=r"^cuda:0 was asked for, and onnxruntime would compute .*MatMul"):
        check_placement(found, Place())
    shapes = {"CUDAExecutionProvider": Counter(MatMul=2), "CPUExecutionProvider": Counter(Shape=1, Slice=1)}
    check_placement(shapes, Place())


def test_a_session_is_asked_for_a_device_a_stream_and_a_recording() -> None:
    ((name, options), fallback) = Place("cuda", 2, stream=1234).providers(replay=True)
    assert (name, fallback) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert options["device_id"] == "2"
    assert options["user_compute_stream"] == "1234"
    assert options["enable_cuda_graph"] == "1"
    assert options["use_tf32"] == "0"
    assert "user_compute_stream" not in Place("cuda", 0).providers(replay=False)[0][1]


def test_a_graph_of_another_dimension_or_with_other_inputs_is_refused(tmp_path: Path) -> None:
    content, source = contextual_graph().SerializeToString(), tmp_path / ENCODER
    with pytest.raises(ArtifactError, match=r"the encoder makes vectors of dimension 16, the manifest says 17$"):
        CudaEncoder(content, dimension=17, buckets=SMALL, place=CPU, source=source)
    other = contextual_graph()
    other.graph.input[1].name = "pixels"
    with pytest.raises(ArtifactError, match=r"the graph has inputs \['input_ids', 'pixels'\]; allowed: input_ids, "):
        CudaEncoder(other.SerializeToString(), dimension=16, buckets=SMALL, place=CPU, source=source)

"""Parts whose hashes fit and whose content does not: each is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from bundle_faults import LOCK, Change, put_index, refused, with_value

from guidealign_engine import ArtifactError, load_engine
from guidealign_engine.bundle import (
    COLUMNS,
    ENCODER,
    GUIDELINES,
    TOKENIZER,
    VECTORS,
    open_bundle,
)

# Columns and vectors whose hashes fit and whose content does not


def columns_of(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    return {name: array.copy() for name, array in open_bundle(folder).arrays(COLUMNS).items()}


ORDERED = "must name every guideline, in order"
BAD_COLUMNS: list[tuple[str, Change, str]] = [
    ("owners", lambda column: column[::-1].copy(), ORDERED),
    ("owners", lambda column: with_value(column, -1, 500), ORDERED),
    ("owners", lambda column: with_value(column, 0, -1), ORDERED),
    ("owners", lambda column: np.where(column == 5, 4, column).astype(np.int32), ORDERED),
    ("owners", lambda column: column[:-1], "has 91 rows; it must have 92"),
    ("owners", lambda column: column.astype(np.int64), "must be a int32 column"),
    ("entry_offsets", lambda column: with_value(column, 3, 10**6), "must rise from 0 to {bytes}"),
    ("entry_offsets", lambda column: with_value(column, 3, -1), "must rise from 0 to {bytes}"),
    ("entry_offsets", lambda column: with_value(column, 0, 1), "must rise from 0 to {bytes}"),
    ("entry_offsets", lambda column: with_value(column, -1, 5), "must rise from 0 to {bytes}"),
    ("entry_offsets", lambda column: column[:-1], "has 40 rows; it must have 41"),
    ("line_offsets", lambda column: with_value(column, 3, 0), "must rise from 0 to {lines}"),
    ("tag_offsets", lambda column: with_value(column, 3, 0), "must rise from 0 to {tags}"),
    ("kinds", lambda column: with_value(column, 3, 2), "must be below 2"),
    ("kinds", lambda column: column.reshape(2, 20), "must be a uint8 column"),
    ("priority", lambda column: with_value(column, 3, np.nan), "must be finite"),
    ("priority", lambda column: with_value(column, 3, np.inf), "must be finite"),
    ("entry_bytes", lambda column: None, "the column is missing"),
    ("tag_ids", lambda column: column.astype(np.float32), "must be a int32 column"),
]


@pytest.mark.parametrize(("name", "change", "rule"), BAD_COLUMNS)
def test_a_column_that_does_not_fit_is_named(bundle_copy: Path, name: str, change: Change, rule: str) -> None:
    columns = columns_of(bundle_copy)
    ends = {
        "bytes": len(columns["entry_bytes"]),
        "lines": (bundle_copy / GUIDELINES).stat().st_size,
        "tags": len(columns["tag_ids"]),
    }
    toy.rewrite_arrays(bundle_copy, COLUMNS, {name: change(columns[name])})
    refused(bundle_copy, bundle_copy / COLUMNS, name, rule.format(**ends))


def test_texts_that_are_not_utf8_are_refused(bundle_copy: Path) -> None:
    columns = columns_of(bundle_copy)
    toy.rewrite_arrays(bundle_copy, COLUMNS, {"entry_bytes": with_value(columns["entry_bytes"], 5, 0xFF)})
    with pytest.raises(ArtifactError, match="entry_bytes"):
        load_engine(bundle_copy)


def test_a_text_that_begins_inside_a_character_is_refused(bundle_copy: Path) -> None:
    columns = columns_of(bundle_copy)
    offsets = columns["entry_offsets"]
    german = toy.POSITION["writing-german"]
    inside = int(offsets[german]) + len("Gr") + 1 + len("ü") - 1
    toy.rewrite_arrays(bundle_copy, COLUMNS, {"entry_offsets": with_value(offsets, german, inside)})
    with pytest.raises(ArtifactError, match="entry_offsets"):
        load_engine(bundle_copy)


@pytest.mark.parametrize(
    ("name", "change", "rule"),
    [
        ("vectors", lambda array: None, "the array is missing"),
        ("vectors", lambda array: array.astype(np.float32), "must be float16 or int8"),
        ("vectors", lambda array: array[:-1], "has shape (91, 64), the manifest says (92, 64)"),
        ("vectors", lambda array: array.reshape(-1), "has shape (5888,), the manifest says (92, 64)"),
        ("scales", lambda array: None, "must fit vectors"),
    ],
)
def test_vectors_that_do_not_fit_are_named(bundle_copy: Path, name: str, change: Change, rule: str) -> None:
    vectors = open_bundle(bundle_copy).arrays(VECTORS)["vectors"]
    changes = {"vectors": vectors.astype(np.int8)} if name == "scales" else {name: change(vectors)}
    toy.rewrite_arrays(bundle_copy, VECTORS, changes)
    refused(bundle_copy, bundle_copy / VECTORS, name, rule)


@pytest.mark.parametrize("value", [np.nan, np.inf], ids=str)
def test_vectors_that_are_not_finite_are_an_error(bundle_copy: Path, value: float) -> None:
    vectors = open_bundle(bundle_copy).arrays(VECTORS)["vectors"].copy()
    vectors[1, 3] = value
    toy.rewrite_arrays(bundle_copy, VECTORS, {"vectors": vectors})
    with pytest.raises(ValueError, match="finite"):
        load_engine(bundle_copy).retrieve_batch([LOCK], min_score=-1.0)


def test_scales_that_are_not_finite_are_an_error(tmp_path: Path) -> None:
    folder = toy.build_toy(tmp_path / "int8", store="int8")
    scales = open_bundle(folder).arrays(VECTORS)["scales"]
    toy.rewrite_arrays(folder, VECTORS, {"scales": with_value(scales, 1, np.nan)})
    with pytest.raises(ValueError, match="finite"):
        load_engine(folder).retrieve_batch([LOCK], min_score=-1.0)


def test_scales_of_another_type_are_refused(tmp_path: Path) -> None:
    folder = toy.build_toy(tmp_path / "int8", store="int8")
    scales = open_bundle(folder).arrays(VECTORS)["scales"]
    toy.rewrite_arrays(folder, VECTORS, {"scales": scales.astype(np.float16)})
    with pytest.raises(ArtifactError, match="field scales"):
        load_engine(folder)


def test_an_index_with_vectors_that_are_not_finite_is_no_way_in(bundle_copy: Path) -> None:
    import faiss

    index = faiss.IndexFlatIP(64)
    index.add(np.full((92, 64), np.nan, dtype=np.float32))
    put_index(bundle_copy, index)
    found = load_engine(bundle_copy).retrieve_batch([LOCK], min_score=-1.0)[0]
    assert np.isfinite(found.scores).all()


def header(content: bytes) -> bytes:
    return len(content).to_bytes(8, "little") + content


@pytest.mark.parametrize("part", [COLUMNS, VECTORS])
@pytest.mark.parametrize(
    "content",
    [
        b"x",
        b"\xff" * 40,
        header(b"{"),
        header(b"[]"),
        header(b"5"),
        header(b'"x"'),
        header(b"null"),
        header(b"[" * 100_000),
        header(b'{"vectors": 5}'),
        header(b'{"vectors": {"dtype": "F16", "shape": [1], "data_offsets": [0, 4]}}') + b"xx",
        header(b'{"vectors": {"dtype": "F16", "shape": [1], "data_offsets": [-2, 0]}}') + b"xx",
        header(b'{"vectors": {"dtype": "F16", "shape": [-1, -1], "data_offsets": [0, 2]}}') + b"xx",
        header(b'{"vectors": {"dtype": "F16", "shape": "ab", "data_offsets": [0, 2]}}') + b"xx",
        header(b'{"vectors": {"dtype": "F16", "shape": [1], "data_offsets": [0.0, 2.0]}}') + b"xx",
        header(b'{"vectors": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}') + b"xx",
        header(b'{"vectors": {"dtype": "F16", "shape": [4294967296, 4294967296], "data_offsets": [0, 0]}}'),
    ],
    ids=lambda content: ascii(content[8:70]),
)
def test_arrays_that_cannot_be_read_are_refused(bundle_copy: Path, part: str, content: bytes) -> None:
    toy.replace_part(bundle_copy, part, content)
    with pytest.raises(ArtifactError) as caught:
        load_engine(bundle_copy)
    assert caught.value.file == bundle_copy / part


@pytest.mark.parametrize("line", [b"not json\n", b"[]\n", b"{}\n", b'{"id": "x"}\n', b"\xff\n"], ids=repr)
def test_a_guideline_line_that_is_none_is_refused_by_name(bundle_copy: Path, line: bytes) -> None:
    lines = (bundle_copy / GUIDELINES).read_bytes().splitlines(keepends=True)
    lines[0] = line.rstrip(b"\n").ljust(len(lines[0]) - 1) + b"\n"
    toy.replace_part(bundle_copy, GUIDELINES, b"".join(lines))
    with pytest.raises(ArtifactError, match=GUIDELINES):
        _ = load_engine(bundle_copy).retrieve_batch([LOCK])[0].guidelines


@pytest.mark.parametrize("content", [b"{}", b"not json", b"\xff", b'{"model": null}'], ids=repr)
def test_a_tokenizer_that_is_none_is_refused(bundle_copy: Path, content: bytes) -> None:
    toy.replace_part(bundle_copy, TOKENIZER, content)
    with pytest.raises(ArtifactError, match="this is no tokenizer definition: ") as caught:
        load_engine(bundle_copy)
    assert caught.value.file == bundle_copy / TOKENIZER


def test_an_encoder_with_other_inputs_is_refused(bundle_copy: Path) -> None:
    import onnx

    model = onnx.load_model_from_string((bundle_copy / ENCODER).read_bytes())
    model.graph.input[0].name = "words"
    model.graph.node[0].input[1] = "words"
    toy.replace_part(bundle_copy, ENCODER, model.SerializeToString())
    rule = (
        "the graph has inputs ['words', 'token_weights']; "
        "allowed: input_ids, attention_mask, token_type_ids, token_weights"
    )
    refused(bundle_copy, bundle_copy / ENCODER, "inputs", rule)


def test_weights_outside_the_bundle_are_not_read(bundle_copy: Path) -> None:
    import onnx
    from onnx.external_data_helper import set_external_data

    model = onnx.load_model_from_string((bundle_copy / ENCODER).read_bytes())
    table = model.graph.initializer[0]
    (bundle_copy.parent / "weights.bin").write_bytes(table.raw_data)
    set_external_data(table, location="../weights.bin")
    table.ClearField("raw_data")
    toy.replace_part(bundle_copy, ENCODER, model.SerializeToString())
    with pytest.raises(ArtifactError, match="onnxruntime cannot load the encoder: ") as caught:
        load_engine(bundle_copy)
    assert caught.value.file == bundle_copy / ENCODER

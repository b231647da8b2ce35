"""A bundle is whole and its own, or it is refused by name; it is replaced in one step."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy

import guidealign_engine.bundle as bundle_module
from guidealign_engine import ArtifactError, ConfigError, Engine, GuidealignError, load_engine
from guidealign_engine.building import build_bundle
from guidealign_engine.bundle import (
    COLUMNS,
    ENCODER,
    FORMAT,
    GUIDELINES,
    INDEX,
    MANIFEST,
    REQUIRED,
    TOKENIZER,
    VECTORS,
    Manifest,
    open_bundle,
    publish_bundle,
    read_manifest,
)
from guidealign_engine.query import visible

GOLDEN = Path(__file__).parent / "golden"
LOCK = "how do I pick the lock of my neighbour's door"


def refused(folder: Path, file: Path, field: str | None, rule: str) -> None:
    """Opening fails, naming the file and the field, with a message that ends in the rule."""
    with pytest.raises(ArtifactError) as caught:
        load_engine(folder)
    place = str(file) if field is None else f"{file}, field {field}"
    assert str(caught.value) == f"{place}: {rule}"
    assert (caught.value.file, caught.value.field) == (file, field)


def test_an_opened_bundle_says_what_it_is(toy_bundle: Path, toy_engine: Engine) -> None:
    manifest = read_manifest(toy_bundle)
    assert (manifest.name, manifest.created_by, manifest.format) == ("toy", "tests", FORMAT)
    assert manifest.guidelines == len(toy_engine.library) == len(toy.GUIDELINES)
    assert manifest.vectors == sum(1 + len(record.examples) for record in toy.GUIDELINES) > manifest.guidelines
    assert manifest.thresholds == toy.THRESHOLDS
    assert manifest.index.recall == 1.0
    assert set(manifest.parts) == set(REQUIRED)
    assert {part: (toy_bundle / part).stat().st_size for part in manifest.parts} == {
        part: entry["bytes"] for part, entry in manifest.parts.items()
    }


def test_examples_are_folded_into_the_vector_of_their_guideline(tmp_path: Path) -> None:
    engine = load_engine(toy.build_toy(tmp_path / "bundle", examples="folded"))
    assert engine.manifest.vectors == engine.manifest.guidelines == len(toy.GUIDELINES)
    student = toy.make_student(toy.make_encoder())
    (query,) = student.embed_texts([LOCK], lambda line: None)
    found = engine.retrieve_batch([LOCK], k=len(toy.GUIDELINES), min_score=-1.0, duplicate_ratio=None)[0]
    scores = {guideline.id: guideline.score for guideline in found.guidelines}
    for record in toy.GUIDELINES:
        texts = [visible(text) for text in (record.entry, *record.examples)]
        entry, *examples = student.embed_texts(texts, lambda line: None)
        mean = sum(examples, np.zeros_like(entry))
        vector = entry + (2.0 * mean / np.linalg.norm(mean) if examples else 0)
        expected = float(query @ vector / np.linalg.norm(vector)) + 0.05 * record.priority
        assert scores[record.id] == pytest.approx(expected, abs=2e-3)


def test_the_folder_holds_nothing_else(toy_bundle: Path) -> None:
    assert sorted(file.name for file in toy_bundle.iterdir()) == sorted([*REQUIRED, MANIFEST])
    assert toy_bundle.stat().st_mode & 0o777 == 0o755


# Parts


@pytest.mark.parametrize("part", REQUIRED)
def test_a_missing_part_is_named(bundle_copy: Path, part: str) -> None:
    (bundle_copy / part).unlink()
    refused(bundle_copy, bundle_copy / part, None, "the file is missing; copy the bundle anew")


@pytest.mark.parametrize("part", REQUIRED)
@pytest.mark.parametrize("keep", [0.0, 0.5, 1.0], ids=["empty", "half", "all but a byte"])
def test_a_truncated_part_is_named(bundle_copy: Path, part: str, keep: float) -> None:
    file = bundle_copy / part
    content = file.read_bytes()
    kept = content[: min(int(len(content) * keep), len(content) - 1)]
    file.write_bytes(kept)
    rule = f"the file has {len(kept)} bytes, the manifest says {len(content)}; copy the bundle anew"
    refused(bundle_copy, file, "bytes", rule)


@pytest.mark.parametrize("part", REQUIRED)
@pytest.mark.parametrize("place", [0, 0.5, -1], ids=["first", "middle", "last"])
def test_one_flipped_bit_is_named(bundle_copy: Path, part: str, place: float) -> None:
    file = bundle_copy / part
    content = bytearray(file.read_bytes())
    content[int(len(content) * place) if place == 0.5 else int(place)] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match="the file is damaged or belongs to another bundle") as caught:
        load_engine(bundle_copy)
    assert (caught.value.file, caught.value.field) == (file, "sha256")


@pytest.mark.parametrize("part", REQUIRED)
def test_a_part_of_another_bundle_is_named(bundle_copy: Path, other_bundle: Path, part: str) -> None:
    shutil.copy(other_bundle / part, bundle_copy / part)
    with pytest.raises(ArtifactError) as caught:
        load_engine(bundle_copy)
    assert caught.value.file == bundle_copy / part
    assert caught.value.field in ("bytes", "sha256")


@pytest.mark.parametrize("part", REQUIRED)
def test_a_part_that_is_a_folder_is_named(bundle_copy: Path, part: str) -> None:
    (bundle_copy / part).unlink()
    (bundle_copy / part).mkdir()
    with pytest.raises(ArtifactError) as caught:
        load_engine(bundle_copy)
    assert caught.value.file == bundle_copy / part


@pytest.mark.parametrize("part", REQUIRED)
def test_an_empty_part_with_a_fitting_hash_is_named(bundle_copy: Path, part: str) -> None:
    toy.replace_part(bundle_copy, part, b"")
    refused(bundle_copy, bundle_copy / part, None, "the file is empty")


# Parts of another bundle whose hashes were made to fit


def take_over(folder: Path, other: Path, part: str) -> None:
    toy.replace_part(folder, part, (other / part).read_bytes())


def test_a_tokenizer_of_another_encoder_is_refused(bundle_copy: Path, other_bundle: Path) -> None:
    take_over(bundle_copy, other_bundle, TOKENIZER)
    other, own = (read_manifest(folder).encoder.vocabulary for folder in (other_bundle, bundle_copy))
    rule = f"the tokenizer has {other} tokens, the encoder {own}; they do not belong together"
    refused(bundle_copy, bundle_copy / MANIFEST, "encoder.vocabulary", rule)


def test_an_encoder_of_another_dimension_is_refused(bundle_copy: Path, other_bundle: Path) -> None:
    take_over(bundle_copy, other_bundle, ENCODER)
    rule = "the encoder makes vectors of dimension 32, the manifest says 64"
    refused(bundle_copy, bundle_copy / MANIFEST, "encoder.dimension", rule)


def test_an_encoder_with_too_few_tokens_does_not_answer(bundle_copy: Path) -> None:
    small = toy.make_encoder(sentences=["lock"])
    toy.replace_part(bundle_copy, ENCODER, small.model)
    with pytest.raises(GuidealignError) as caught:
        load_engine(bundle_copy).retrieve_batch([LOCK])
    assert ENCODER in str(caught.value)


def test_vectors_of_another_bundle_are_refused(bundle_copy: Path, other_bundle: Path) -> None:
    take_over(bundle_copy, other_bundle, VECTORS)
    shape, own = (read_manifest(other_bundle).vectors, 32), (read_manifest(bundle_copy).vectors, 64)
    refused(bundle_copy, bundle_copy / VECTORS, "vectors", f"has shape {shape}, the manifest says {own}")


def test_columns_of_another_bundle_are_refused(bundle_copy: Path, other_bundle: Path) -> None:
    take_over(bundle_copy, other_bundle, COLUMNS)
    refused(bundle_copy, bundle_copy / COLUMNS, "line_offsets", "has 31 rows; it must have 41")


def test_guidelines_of_another_bundle_are_refused(bundle_copy: Path, other_bundle: Path) -> None:
    take_over(bundle_copy, other_bundle, GUIDELINES)
    size = (bundle_copy / GUIDELINES).stat().st_size
    refused(bundle_copy, bundle_copy / COLUMNS, "line_offsets", f"must rise from 0 to {size}")


def test_an_index_of_another_bundle_is_refused(bundle_copy: Path, other_bundle: Path) -> None:
    take_over(bundle_copy, other_bundle, INDEX)
    other, own = (read_manifest(folder).vectors for folder in (other_bundle, bundle_copy))
    refused(bundle_copy, bundle_copy / MANIFEST, "vectors", f"the index has {other}, the manifest says {own}")


def stored_vectors(folder: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    return open_bundle(folder).arrays(VECTORS)["vectors"].astype(np.float32)


def put_index(folder: Path, index: Any) -> None:
    import faiss

    toy.replace_part(folder, INDEX, faiss.serialize_index(index).tobytes())


def test_an_index_of_another_kind_is_refused(bundle_copy: Path) -> None:
    import faiss

    index = faiss.IndexHNSWFlat(64, 8, faiss.METRIC_INNER_PRODUCT)
    index.add(stored_vectors(bundle_copy))
    put_index(bundle_copy, index)
    rule = "the index is of kind hnsw, the manifest says flat"
    refused(bundle_copy, bundle_copy / MANIFEST, "index.kind", rule)


def test_an_index_of_a_kind_that_is_not_used_is_refused(bundle_copy: Path) -> None:
    import faiss

    index = faiss.IndexScalarQuantizer(64, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.add(stored_vectors(bundle_copy))
    put_index(bundle_copy, index)
    rule = "IndexScalarQuantizer is not a kind of index that this version uses"
    refused(bundle_copy, bundle_copy / INDEX, None, rule)


def test_an_index_by_distance_is_refused(bundle_copy: Path) -> None:
    import faiss

    index = faiss.IndexFlatL2(64)
    index.add(stored_vectors(bundle_copy))
    put_index(bundle_copy, index)
    refused(bundle_copy, bundle_copy / INDEX, "metric_type", "the index does not search by inner product")


def test_ids_outside_the_library_are_refused_and_not_followed(bundle_copy: Path) -> None:
    import faiss

    vectors = stored_vectors(bundle_copy)
    quantizer = faiss.IndexFlatIP(64)
    index = faiss.IndexIVFFlat(quantizer, 64, 1, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add_with_ids(vectors, np.arange(len(vectors)) + 10**9)
    put_index(bundle_copy, index)
    toy.rewrite_manifest(bundle_copy, index__kind="ivf_pq", index__nprobe=1)
    with pytest.raises(ValueError, match=r"candidate 10000000\d\d is outside the \d+ stored vectors"):
        load_engine(bundle_copy).retrieve_batch([LOCK])


# The manifest


def test_a_missing_folder_or_manifest_is_named(bundle_copy: Path, tmp_path: Path) -> None:
    refused(tmp_path / "none", tmp_path / "none", None, "there is no such bundle folder")
    (bundle_copy / MANIFEST).unlink()
    refused(bundle_copy, bundle_copy / MANIFEST, None, "the bundle has no manifest; is this a bundle folder?")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"nothing", b"{} {}"], ids=repr)
def test_a_manifest_that_is_not_json_is_named(bundle_copy: Path, content: bytes) -> None:
    file = bundle_copy / MANIFEST
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match="the manifest is not JSON: ") as caught:
        load_engine(bundle_copy)
    assert caught.value.file == file


def test_a_deeply_nested_manifest_is_refused(bundle_copy: Path) -> None:
    (bundle_copy / MANIFEST).write_text("[" * 1_000_000)
    with pytest.raises(ArtifactError):
        load_engine(bundle_copy)


def test_a_manifest_of_another_size_than_one_has_is_not_read(bundle_copy: Path) -> None:
    (bundle_copy / MANIFEST).write_bytes(b" " * ((16 << 20) + 1))
    refused(bundle_copy, bundle_copy / MANIFEST, None, "the manifest has over 16777216 bytes")


@pytest.mark.parametrize("found", [99, 0, "1", None, [1]], ids=repr)
def test_another_format_says_what_to_do(bundle_copy: Path, found: Any) -> None:
    toy.rewrite_manifest(bundle_copy, format=found)
    rule = (
        f"bundle format {found!r} found, this version reads 1; "
        'rebuild it with "guidealign bundle build" or install the version that wrote it'
    )
    refused(bundle_copy, bundle_copy / MANIFEST, "format", rule)


@pytest.mark.parametrize("content", ["[]", "5", '"x"', "null"])
def test_a_manifest_that_is_no_object_has_no_format(bundle_copy: Path, content: str) -> None:
    (bundle_copy / MANIFEST).write_text(content)
    with pytest.raises(ArtifactError, match="bundle format None found, this version reads 1"):
        load_engine(bundle_copy)


FIELDS = ["name", "created_by", "guidelines", "vectors", "vectors_by", "encoder", "index", "parts"]


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_is_named(bundle_copy: Path, field: str) -> None:
    file = bundle_copy / MANIFEST
    record = json.loads(file.read_bytes())
    del record[field]
    file.write_text(json.dumps(record))
    with pytest.raises(ArtifactError) as caught:
        load_engine(bundle_copy)
    assert caught.value.file == file
    assert field in str(caught.value)


@pytest.mark.parametrize("field", ["id", "dimension", "vocabulary"])
def test_a_missing_field_of_the_encoder_is_named(bundle_copy: Path, field: str) -> None:
    file = bundle_copy / MANIFEST
    record = json.loads(file.read_bytes())
    del record["encoder"][field]
    file.write_text(json.dumps(record))
    with pytest.raises(ArtifactError, match=f"'{field}'") as caught:
        load_engine(bundle_copy)
    assert caught.value.file == file


@pytest.mark.parametrize(
    "changes",
    [
        {"surprise": 1},
        {"encoder": None},
        {"encoder": "toy"},
        {"encoder": []},
        {"encoder__surprise": 1},
        {"index": 5},
        {"index__kind": None},
        {"index__kind": "annoy"},
        {"tags": 5},
        {"parts": []},
        {"parts": "x"},
        {"parts": None},
        {"parts__extra": 5},
        {"parts__extra": {"bytes": 3}},
        {"thresholds": "high"},
        {"thresholds": [0.5]},
        {"thresholds__safety": 7},
        {"thresholds__safety": None},
        {"thresholds__relative": float("nan")},
        {"guidelines": None},
        {"guidelines": "40"},
        {"guidelines": -1},
        {"guidelines": 0},
        {"guidelines": 39},
        {"guidelines": 40.5},
        {"guidelines": 10**12},
        {"vectors": None},
        {"vectors": 10},
        {"vectors": 10**12},
        {"encoder__dimension": 32},
        {"encoder__dimension": "64"},
        {"encoder__dimension": None},
        {"encoder__vocabulary": 5},
        {"encoder__vocabulary": None},
        {"encoder__max_tokens": "512"},
        {"encoder__max_tokens": -1},
        {"encoder__max_tokens": None},
    ],
    ids=str,
)
def test_a_field_of_another_type_or_value_is_refused(bundle_copy: Path, changes: dict[str, Any]) -> None:
    toy.rewrite_manifest(bundle_copy, **changes)
    with pytest.raises(ArtifactError) as caught:
        load_engine(bundle_copy)
    assert bundle_copy in (caught.value.file, caught.value.file.parent)


@pytest.mark.parametrize("part", REQUIRED)
def test_a_part_that_is_not_listed_is_named(bundle_copy: Path, part: str) -> None:
    record = json.loads((bundle_copy / MANIFEST).read_bytes())
    del record["parts"][part]
    toy.rewrite_manifest(bundle_copy, parts=record["parts"])
    refused(bundle_copy, bundle_copy / MANIFEST, f"parts.{part}", "the part is not listed")


@pytest.mark.parametrize("part", ["../x", "/etc/hostname", "a/b", "./x", "..", ".", ""], ids=repr)
def test_a_part_outside_the_folder_is_refused(bundle_copy: Path, part: str) -> None:
    (bundle_copy.parent / "x").write_bytes(b"x")
    record = json.loads((bundle_copy / MANIFEST).read_bytes())
    toy.rewrite_manifest(bundle_copy, parts={**record["parts"], part: {"bytes": 1, "sha256": "0"}})
    refused(bundle_copy, bundle_copy / MANIFEST, f"parts.{part}", "a part must lie in the bundle folder itself")


@pytest.mark.parametrize("entry", [{"bytes": 1}, {"sha256": "0"}, {"bytes": 1, "sha256": "0", "url": "x"}, 5, None])
def test_a_part_has_bytes_and_sha256(bundle_copy: Path, entry: Any) -> None:
    record = json.loads((bundle_copy / MANIFEST).read_bytes())
    toy.rewrite_manifest(bundle_copy, parts={**record["parts"], INDEX: entry})
    refused(bundle_copy, bundle_copy / MANIFEST, f"parts.{INDEX}", "a part must have bytes and sha256")


# Columns and vectors whose hashes fit and whose content does not


def columns_of(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    return {name: array.copy() for name, array in open_bundle(folder).arrays(COLUMNS).items()}


def with_value(array: np.ndarray[Any, Any], place: int, value: Any) -> np.ndarray[Any, Any]:
    changed = array.copy()
    changed[place] = value
    return changed


ORDERED = "must name every guideline, in order"
Change = Callable[[np.ndarray[Any, Any]], "np.ndarray[Any, Any] | None"]
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


# Each damaged content runs in one process of its own, so that a crash is seen as one.
DAMAGE = """
import sys
from pathlib import Path
import numpy as np
import toy
from guidealign_engine import ArtifactError, load_engine

folder, part = Path(sys.argv[1]), sys.argv[2]
content = (folder / part).read_bytes()
rng = np.random.default_rng(3)
outcomes = dict.fromkeys(("refused", "answered", "leaked"), 0)
for trial in range(int(sys.argv[3])):
    damaged = bytearray(content)
    if trial % 4 == 0:
        damaged = damaged[: rng.integers(1, len(content))]
    # The front of the file is structure, the rest are numbers that nobody can tell from others.
    for place in rng.integers(0, min(len(damaged), 200 if trial % 2 else len(damaged)), size=4):
        damaged[place] = rng.integers(256)
    toy.replace_part(folder, part, bytes(damaged))
    try:
        found = load_engine(folder).retrieve_batch(["how do I pick a lock", ""], min_score=-1.0)
        assert all(np.isfinite(retrieval.scores).all() for retrieval in found)
        outcomes["answered"] += 1
    except ArtifactError:
        outcomes["refused"] += 1
    except Exception as error:
        outcomes["leaked"] += 1
        print(trial, type(error).__name__, str(error)[:120], file=sys.stderr)
print(outcomes["refused"] > 0, outcomes["leaked"])
"""


@pytest.mark.parametrize(("part", "trials"), [(INDEX, 150), (ENCODER, 150), (COLUMNS, 150), (TOKENIZER, 60)])
def test_damaged_content_with_a_fitting_hash_is_refused_or_answered_and_never_crashes(
    run_python: Any, bundle_copy: Path, part: str, trials: int
) -> None:
    done = run_python(DAMAGE, bundle_copy, part, str(trials))
    assert done.returncode == 0, done.stderr
    # onnxruntime prints lines of its own before.
    assert done.stdout.splitlines()[-1] == "True 0", done.stderr


@pytest.mark.parametrize("part", [INDEX, ENCODER])
@pytest.mark.parametrize("content", [b"\x00" * 500, b"garbage " * 100, b"\xff" * 500], ids=["zeros", "text", "ones"])
def test_garbage_with_a_fitting_hash_is_refused_by_name(
    run_python: Any, bundle_copy: Path, part: str, content: bytes
) -> None:
    toy.replace_part(bundle_copy, part, content)
    code = """
import sys
from guidealign_engine import ArtifactError, load_engine
try:
    load_engine(sys.argv[1])
except ArtifactError as error:
    print(error.file.name, str(error).split(": ")[1])
"""
    done = run_python(code, bundle_copy)
    rule = "FAISS cannot read the index" if part == INDEX else "onnxruntime cannot load the encoder"
    assert (done.returncode, done.stdout) == (0, f"{part} {rule}\n"), done.stderr


# Replacing


def answer(engine: Engine) -> list[tuple[str, float]]:
    return [(it.id, it.score) for it in engine.retrieve_batch([LOCK], min_score=-1.0)[0].guidelines]


def parts_of(folder: Path) -> tuple[Manifest, dict[str, bytes]]:
    opened = open_bundle(folder)
    return opened.manifest, {part: opened.read(part) for part in opened.manifest.parts}


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_an_open_engine_outlives_its_folder(bundle_copy: Path, toy_engine: Engine, other_bundle: Path) -> None:
    engine, later = load_engine(bundle_copy), load_engine(bundle_copy)
    publish_bundle(bundle_copy, *parts_of(other_bundle))
    assert answer(engine) == answer(toy_engine)
    shutil.rmtree(bundle_copy)
    assert answer(later) == answer(toy_engine)
    assert later.assemble_batch([LOCK])[0].prompt == toy_engine.assemble_batch([LOCK])[0].prompt


def test_publishing_replaces_the_old_bundle_and_leaves_nothing_else(bundle_copy: Path, other_bundle: Path) -> None:
    manifest = publish_bundle(bundle_copy, *parts_of(other_bundle))
    assert manifest == read_manifest(bundle_copy) == read_manifest(other_bundle)
    assert names_in(bundle_copy) == names_in(other_bundle)
    assert names_in(bundle_copy.parent) == ["bundle"]


def test_publishing_makes_the_folders_above(tmp_path: Path, toy_bundle: Path) -> None:
    folder = tmp_path / "a" / "b" / "bundle"
    publish_bundle(folder, *parts_of(toy_bundle))
    assert read_manifest(folder) == read_manifest(toy_bundle)
    empty = tmp_path / "empty"
    empty.mkdir()
    publish_bundle(empty, *parts_of(toy_bundle))
    assert read_manifest(empty) == read_manifest(toy_bundle)


def test_a_folder_that_is_no_bundle_is_not_replaced(tmp_path: Path, toy_bundle: Path, raises_exactly: Any) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "cat.jpg").write_bytes(b"cat")
    with raises_exactly(ArtifactError, f"{folder}: the folder exists and is no bundle; give another one"):
        publish_bundle(folder, *parts_of(toy_bundle))
    assert names_in(tmp_path) == ["photos"]
    assert (folder / "cat.jpg").read_bytes() == b"cat"


def test_a_file_in_the_place_of_the_folder_is_not_replaced(tmp_path: Path, toy_bundle: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"cat")
    with pytest.raises(ArtifactError) as caught:
        publish_bundle(file, *parts_of(toy_bundle))
    assert caught.value.file == file
    assert file.read_bytes() == b"cat"


@pytest.mark.parametrize("fails_at", range(len(REQUIRED) + 1))
def test_a_full_disk_leaves_the_old_bundle_whole(
    monkeypatch: pytest.MonkeyPatch, bundle_copy: Path, other_bundle: Path, toy_engine: Engine, fails_at: int
) -> None:
    manifest, parts = parts_of(other_bundle)
    write = bundle_module._write_synced
    written = []

    def failing(file: Path, content: bytes) -> None:
        if len(written) == fails_at:
            file.write_bytes(content[: len(content) // 2])
            raise OSError(28, "No space left on device")
        written.append(file)
        write(file, content)

    monkeypatch.setattr(bundle_module, "_write_synced", failing)
    with pytest.raises(OSError, match="No space left on device"):
        publish_bundle(bundle_copy, manifest, parts)
    assert names_in(bundle_copy.parent) == ["bundle"]
    assert answer(load_engine(bundle_copy)) == answer(toy_engine)


def test_a_failure_of_the_last_step_leaves_the_old_bundle_whole(
    monkeypatch: pytest.MonkeyPatch, bundle_copy: Path, other_bundle: Path, toy_engine: Engine
) -> None:
    def failing(new: Path, old: Path) -> None:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(bundle_module, "_exchange", failing)
    with pytest.raises(OSError, match="Permission denied"):
        publish_bundle(bundle_copy, *parts_of(other_bundle))
    assert names_in(bundle_copy.parent) == ["bundle"]
    assert answer(load_engine(bundle_copy)) == answer(toy_engine)


def test_a_bundle_that_is_replaced_between_manifest_and_parts_is_read_whole(
    monkeypatch: pytest.MonkeyPatch, bundle_copy: Path, other_bundle: Path
) -> None:
    read = bundle_module.read_manifest
    replaced = threading.Event()

    def replaced_after(folder: Path) -> Manifest:
        manifest = read(folder)
        if not replaced.is_set():
            replaced.set()
            publish_bundle(bundle_copy, *other)
        return manifest

    other = parts_of(other_bundle)
    monkeypatch.setattr(bundle_module, "read_manifest", replaced_after)
    assert open_bundle(bundle_copy).manifest.guidelines in (30, 40)


def test_a_reader_never_sees_a_bundle_that_is_being_replaced(bundle_copy: Path, other_bundle: Path) -> None:
    bundles = [parts_of(other_bundle), parts_of(bundle_copy)]
    done = threading.Event()
    sizes: list[int] = []
    errors: list[Exception] = []

    def reader() -> None:
        while not done.is_set():
            try:
                sizes.append(open_bundle(bundle_copy).manifest.guidelines)
            except Exception as error:
                errors.append(error)

    readers = [threading.Thread(target=reader) for _ in range(2)]
    for thread in readers:
        thread.start()
    for number in range(20):
        publish_bundle(bundle_copy, *bundles[number % 2])
    done.set()
    for thread in readers:
        thread.join()
    assert [str(error) for error in errors] == []
    assert set(sizes) <= {30, 40}
    assert len(sizes) >= 20


def test_publishing_without_renameat2_steps_aside(
    monkeypatch: pytest.MonkeyPatch, bundle_copy: Path, other_bundle: Path
) -> None:
    class OldLibrary:
        pass

    monkeypatch.setattr(bundle_module.ctypes, "CDLL", lambda *args, **options: OldLibrary())
    publish_bundle(bundle_copy, *parts_of(other_bundle))
    assert read_manifest(bundle_copy) == read_manifest(other_bundle)
    assert names_in(bundle_copy.parent) == ["bundle"]


# Building


class BrokenEmbedder:
    """Gives one text a vector that is not finite."""

    name = "broken"

    def embed_texts(self, texts: Sequence[str], report: Any) -> np.ndarray[Any, Any]:
        vectors = np.ones((len(texts), toy.DIMENSION), dtype=np.float32)
        vectors[3, 5] = np.nan
        return vectors


def build(folder: Path, *, broken: bool = False, **options: Any) -> None:
    files = toy.make_encoder()
    student = toy.make_student(files)
    build_bundle(
        toy.GUIDELINES,
        folder,
        name="x",
        created_by="tests",
        encoder_files=files,
        student=student,
        library_embedder=BrokenEmbedder() if broken else student,
        **options,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"store": "float32"}, "store is 'float32'; allowed: float16, int8"),
        ({"examples": "none"}, "examples is 'none'; allowed: folded, each"),
        ({"index_kind": "annoy"}, "index kind is 'annoy'; allowed: flat, pq, ivf_pq, hnsw"),
        (
            {"index_kind": "pq"},
            "index kind pq needs at least 624 vectors to be trained, the library has 40; use flat",
        ),
        (
            {"index_kind": "ivf_pq"},
            "index kind ivf_pq needs at least 9984 vectors to be trained, the library has 40; use flat",
        ),
        (
            {"broken": True},
            "guideline 'crime-wifi' has a vector that is not finite; the encoder is broken",
        ),
    ],
    ids=str,
)
def test_a_bundle_that_cannot_work_is_not_built(
    tmp_path: Path, raises_exactly: Any, options: dict[str, Any], message: str
) -> None:
    with raises_exactly(ConfigError, message):
        build(tmp_path / "bundle", **options)
    assert names_in(tmp_path) == []


# Old formats


@pytest.mark.parametrize("folder", sorted(GOLDEN.glob("format-*")), ids=lambda folder: folder.name)
def test_a_bundle_of_every_format_finds_what_it_found_when_it_was_made(folder: Path) -> None:
    engine = load_engine(folder / "bundle")
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    assert len(expected) == 5
    for case in expected:
        calibrated = engine.retrieve_batch([case["prompt"]])[0]
        assert [guideline.id for guideline in calibrated.guidelines] == case["calibrated"]
        uncut = engine.retrieve_batch([case["prompt"]], min_score=-1.0, duplicate_ratio=None)[0]
        assert [guideline.id for guideline in uncut.guidelines] == case["ids"]
        # Other processors add in another order.
        np.testing.assert_allclose(uncut.scores, case["scores"], atol=1e-5)


def test_the_current_format_has_a_golden_bundle() -> None:
    assert (GOLDEN / f"format-{FORMAT}" / "bundle" / MANIFEST).is_file()

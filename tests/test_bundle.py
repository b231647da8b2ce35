"""A bundle is whole and its own, or it is refused by name; it is replaced in one step."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import toy
from bundle_faults import LOCK, put_index, refused, stored_vectors

from guidealign_engine import ArtifactError, Engine, GuidealignError, load_engine
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
    read_manifest,
)
from guidealign_engine.query import visible

GOLDEN = Path(__file__).parent / "golden"


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

"""What a manifest says is checked before anything is believed of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import toy
from bundle_faults import refused

from guidealign_engine import ArtifactError, load_engine
from guidealign_engine.bundle import (
    INDEX,
    MANIFEST,
    REQUIRED,
)

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

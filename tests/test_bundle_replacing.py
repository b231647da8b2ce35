"""A bundle is built and replaced in one step: a reader sees the old one or the new one."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from bundle_faults import LOCK, answer, names_in, parts_of

import guidealign_engine.bundle as bundle_module
from guidealign_engine import ArtifactError, ConfigError, Engine, load_engine
from guidealign_engine.building import build_bundle
from guidealign_engine.bundle import (
    REQUIRED,
    Manifest,
    open_bundle,
    publish_bundle,
    read_manifest,
)

# Replacing


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
        ({"index_kind": "annoy"}, "index kind is 'annoy'; allowed: flat, pq, ivf_pq, ivf_pq4, hnsw"),
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

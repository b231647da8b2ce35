"""Bundles of made libraries, built once and kept in a cache."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.scale import big_library, sources
from bench.scale.big_library import BigLibrary, MadeVectors, nearest_cosines
from bench.scale.sizes import Size
from bench.scale.sources import Sources
from guidealign_engine import index_kinds, index_tuning
from guidealign_engine.building import Report, StudentEmbedder, build_bundle
from guidealign_engine.bundle import MANIFEST
from guidealign_engine.encoder_files import read_encoder_files

_RECORD = "made.json"
_MADE_BY = (big_library, sources, index_kinds, index_tuning)


def made_bundle(
    size: Size, source: Path, cache: Path, tune_on: Sequence[str], *, seed: int, recall: float, report: Report
) -> tuple[Path, dict[str, Any]]:
    """The bundle of a made library, from the cache if the same code made it from the same bundle, and its record.

    source: a bundle whose guidelines, vectors and encoder are taken. tune_on: prompts that the index is tuned on, until
    it finds `recall` of the six guidelines that exact search shows.
    """
    place = cache / f"{size.name}-{_fingerprint(source, tune_on, seed, recall)}"
    folder, record_file = place / "bundle", place / _RECORD
    if record_file.is_file() and (folder / MANIFEST).is_file():
        report(f"{size.name}: built before, {folder}")
        return folder, json.loads(record_file.read_bytes())
    started = time.perf_counter()
    report(f"{size.name}: making {size.guidelines} guidelines and {size.vectors} vectors")
    library = BigLibrary.make(Sources.of_bundle(source), size.guidelines, vectors_each=size.vectors_each, seed=seed)
    own = library.vectors[:: size.vectors_each]
    made_s = time.perf_counter() - started
    files = read_encoder_files(source)
    student = StudentEmbedder.from_files(files, source)
    build_bundle(
        library.records,
        folder,
        name=f"scale-{size.name}",
        created_by="bench.scale",
        encoder_files=files,
        student=student,
        library_embedder=MadeVectors(library.vectors),
        store="int8",
        examples="each" if size.vectors_each > 1 else "folded",
        queries=tune_on,
        recall=recall,
        report=report,
    )
    record = {
        "seed": seed,
        "made_s": round(made_s, 1),
        "built_s": round(time.perf_counter() - started - made_s, 1),
        "median_cosine_to_nearest": round(float(np.median(nearest_cosines(own))), 3),
    }
    record_file.write_text(json.dumps(record), encoding="utf-8")
    return folder, record


def _fingerprint(source: Path, tune_on: Sequence[str], seed: int, recall: float) -> str:
    digest = hashlib.sha256((source / MANIFEST).read_bytes())
    for module in _MADE_BY:
        digest.update(Path(str(module.__file__)).read_bytes())
    digest.update(json.dumps([list(tune_on), seed, recall]).encode())
    return digest.hexdigest()[:12]

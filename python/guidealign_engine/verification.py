"""Checks that go further than loading a bundle does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from guidealign_engine.blocks import entries_of
from guidealign_engine.bundle import COLUMNS, VECTORS, open_bundle
from guidealign_engine.errors import ArtifactError
from guidealign_engine.library import KINDS, Library
from guidealign_engine.loading import load_engine

_UNIT_TOLERANCE = 1e-2


def verify_bundle(folder: Path) -> Iterator[str]:
    """Yields each check that passed. Raises ArtifactError at the first that fails."""
    bundle = open_bundle(folder)
    yield f"size and SHA-256 of {len(bundle.manifest.parts)} files"
    engine = load_engine(folder)
    yield "library, tokenizer, encoder and index load and fit each other"
    _check_columns(engine.library, folder)
    yield f"the columns say what {bundle.manifest.guidelines} guidelines say"
    _check_vectors(engine.library, folder)
    yield f"{bundle.manifest.vectors} vectors are finite and of unit length"
    first = engine.library.record(0)
    found = engine.retrieve_batch([first.text], k=1, min_score=-1.0)[0]
    if not found.guidelines:
        raise ArtifactError("a guideline's own text finds nothing", file=folder)
    yield f"the text of {first.id!r} finds {found.guidelines[0].id!r}"


def _check_columns(library: Library, folder: Path) -> None:
    def fail(position: int, field: str) -> ArtifactError:
        return ArtifactError(f"guideline {position} is another one in the columns", file=folder / COLUMNS, field=field)

    folded = len(library.vectors) == len(library)
    for position, entry in enumerate(entries_of(library)):
        record = library.record(position)
        tags = library.tag_ids[library.tag_offsets[position] : library.tag_offsets[position + 1]].tolist()
        if record.entry != entry:
            raise fail(position, "entry_bytes")
        if KINDS[library.kinds[position]] != record.kind:
            raise fail(position, "kinds")
        if np.float32(record.priority) != library.priority[position]:
            raise fail(position, "priority")
        if {library.tag_names[tag] for tag in tags} != set(record.tags):
            raise fail(position, "tag_ids")
        vectors = int(library.vector_offsets[position + 1] - library.vector_offsets[position])
        if vectors != (1 if folded else 1 + len(record.examples)):
            raise fail(position, "owners")


def _check_vectors(library: Library, folder: Path) -> None:
    scales = library.scales[:, None] if len(library.scales) else np.float32(1.0)
    lengths = np.linalg.norm(library.vectors.astype(np.float32) * scales, axis=1)
    bad = np.flatnonzero(~(np.abs(lengths - 1.0) <= _UNIT_TOLERANCE))
    if len(bad):
        raise ArtifactError(
            f"vector {bad[0]} has length {lengths[bad[0]]:.4f}; it must be 1", file=folder / VECTORS, field="vectors"
        )

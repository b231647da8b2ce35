"""An existing bundle with another index: its other parts stay as they are, to the byte."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from guidealign_engine.building import StudentEmbedder
from guidealign_engine.bundle import COLUMNS, INDEX, VECTORS, Manifest, check_replaceable, open_bundle, publish_bundle
from guidealign_engine.index_tuning import RECALL_TARGET, SearchedLibrary, tune_index
from guidealign_engine.library import Library


def publish_reindexed(
    folder: Path,
    out: Path,
    queries: Sequence[str],
    *,
    kind: str | None = None,
    target: float = RECALL_TARGET,
    report: Callable[[str], None] = lambda line: None,
) -> Manifest:
    """Tunes a new index over the bundle's stored vectors and publishes the bundle with it in `out`, in one step.

    Raises ArtifactError for what is no whole bundle, and what `tune_index` raises; `out` then stays as it was.
    """
    check_replaceable(out)
    bundle = open_bundle(folder)
    # Checks the columns, so that what is read below fits.
    Library.from_bundle(bundle)
    columns, stored = bundle.arrays(COLUMNS), bundle.arrays(VECTORS)
    report(f"{len(queries)} queries, {bundle.manifest.vectors} vectors")
    tuned = tune_index(
        SearchedLibrary.of(stored, columns["owners"], columns),
        StudentEmbedder.from_bundle(bundle).embed_queries(queries),
        kind=kind,
        target=target,
        report=report,
    )
    parts = {part: bundle.read(part) for part in bundle.manifest.parts}
    return publish_bundle(out, replace(bundle.manifest, index=tuned.info), {**parts, INDEX: tuned.content})

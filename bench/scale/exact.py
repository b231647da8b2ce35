"""What an engine finds when its search reads every stored vector, and how recall and time change with `nprobe`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns

import numpy as np

from bench.scale.measure_scale import mean_share
from guidealign_engine import Engine, EngineConfig, load_engine
from guidealign_engine.bundle import INDEX, open_bundle
from guidealign_engine.config import SearchConfig
from guidealign_engine.encoder import OnnxEncoder
from guidealign_engine.index import CandidateIndex, import_faiss
from guidealign_engine.library import Library
from guidealign_engine.tokenizer import QueryTokenizer

# So many nearest vectors leave six guidelines after near-duplicates are taken out.
ENOUGH = 1000
_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class Width:
    """A search of another width than the bundle's own."""

    nprobe: int
    recall: float
    p50_us: float


def exact_positions(folder: Path, prompts: Sequence[str], *, candidates: int | None = None) -> list[list[int]]:
    """Positions of the six guidelines for each prompt, by an engine that differs in its search alone.

    candidates: how many vectors the search proposes; None for as many as the bundle's own.
    """
    bundle = open_bundle(folder)
    pool = candidates or max(SearchConfig().pool_size, bundle.manifest.index.pool or 1)
    library = Library.from_bundle(bundle)
    index = import_faiss().IndexFlatIP(bundle.manifest.encoder.dimension)
    for start in range(0, len(library.vectors), _ROWS):
        rows = slice(start, start + _ROWS)
        vectors = library.vectors[rows].astype(np.float32)
        index.add(vectors * library.scales[rows, None] if len(library.scales) else vectors)
    engine = Engine(
        manifest=bundle.manifest,
        library=library,
        tokenizer=QueryTokenizer.from_bundle(bundle),
        encoder=OnnxEncoder.from_bundle(bundle, threads=1),
        index=CandidateIndex(index, nprobe=None, threads=1, source=folder / INDEX),
        config=EngineConfig(search=SearchConfig(pool_size=pool)),
        threads=1,
    )
    return [found.positions for found in engine.retrieve_batch(prompts, min_score=-1.0)]


def widths(folder: Path, prompts: Sequence[str], exact: Sequence[Sequence[int]]) -> list[Width]:
    """Half, once, twice and four times the bundle's own nprobe, and so on; none for a search without lists."""
    own = open_bundle(folder).manifest.index.nprobe
    if own is None:
        return []
    tried = sorted({max(1, round(own * factor)) for factor in (0.125, 0.25, 0.5, 1, 2, 4)})
    return [_width(folder, nprobe, prompts, exact) for nprobe in tried]


def _width(folder: Path, nprobe: int, prompts: Sequence[str], exact: Sequence[Sequence[int]]) -> Width:
    engine = load_engine(folder, config=EngineConfig(search=SearchConfig(nprobe=nprobe)))
    found = [retrieval.positions for retrieval in engine.retrieve_batch(prompts, min_score=-1.0)]
    durations = []
    for prompt in prompts:
        begin = perf_counter_ns()
        engine.assemble_batch([prompt], min_score=-1.0)
        durations.append(perf_counter_ns() - begin)
    return Width(nprobe, round(mean_share(found, exact), 4), round(float(np.median(durations)) / 1000, 1))

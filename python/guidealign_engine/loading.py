"""Opens a bundle and makes an engine of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from threading import Lock

from guidealign_engine.bundle import open_bundle
from guidealign_engine.config import check_count, choose
from guidealign_engine.devices import Spread, StageDevices, choose_device
from guidealign_engine.encoder import OnnxEncoder
from guidealign_engine.engine import Engine, EngineConfig
from guidealign_engine.index import CandidateIndex
from guidealign_engine.library import Library
from guidealign_engine.tokenizer import QueryTokenizer

STARTER_BUNDLE = Path(__file__).parent / "starter"
_MAX_THREADS = 1024
_default_lock = Lock()


def load_engine(
    path: str | Path | None = None,
    *,
    device: str = "cpu",
    threads: int = 1,
    config: EngineConfig | None = None,
    spread: str = "auto",
) -> Engine:
    """Opens a bundle, verifies it and makes an engine of it.

    path: a bundle folder; None for the starter bundle inside this package.
    device: "cpu"; "cuda", a GPU such as "cuda:1", or several, "cuda:0,1": encoder, search and exact scores run there. A
    GPU that cannot be used is an error, never a silent fallback. "auto": the first GPU that can be used, otherwise the
    CPU; `Engine.devices` says which it became, and why.
    threads: how many parts a large batch is split into; a single prompt takes one thread. For a GPU, 1 is best: its
    parts would wait for each other there.
    spread: of an index on several GPUs: "replicate" it, "shard" it, or "auto", to replicate it where it fits.

    Raises ArtifactError naming the file and field that is missing, damaged or does not fit, MissingDependencyError
    naming the extra to install, DeviceError for a device that is missing or has too little memory, ConfigError for
    options that have no meaning.
    """
    check_count("threads", threads, 1, _MAX_THREADS)
    how = choose(Spread, spread, "spread")
    chosen = choose_device(device)
    config = config or EngineConfig()
    bundle = open_bundle(STARTER_BUNDLE if path is None else Path(path))
    library = Library.from_bundle(bundle)
    # Threads split a batch, so each stage of a slice keeps to one.
    index = CandidateIndex.from_bundle(bundle, nprobe=config.search.nprobe, threads=1)
    gpu = None
    if chosen.gpus:
        from guidealign_engine.gpu.loading import load_gpu_stages

        gpu = load_gpu_stages(bundle, library, index, chosen, spread=how, search=config.search, rerank=config.rerank)
    engine = Engine(
        manifest=bundle.manifest,
        library=library,
        tokenizer=QueryTokenizer.from_bundle(bundle),
        encoder=gpu or OnnxEncoder.from_bundle(bundle, threads=1),
        index=index,
        config=config,
        threads=threads,
        gpu=gpu,
    )
    if chosen.why:
        engine.devices = StageDevices(notes=dict.fromkeys(("encode", "search", "rerank"), chosen.why))
    return engine


def default_engine() -> Engine:
    """The engine of the starter bundle, loaded at the first call of any thread and kept."""
    with _default_lock:
        return _loaded_default()


@cache
def _loaded_default() -> Engine:
    return load_engine()

"""Opens a bundle and makes an engine of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from threading import Lock

from guidealign_engine.bundle import open_bundle
from guidealign_engine.config import check_count
from guidealign_engine.encoder import OnnxEncoder, check_device
from guidealign_engine.engine import Engine, EngineConfig
from guidealign_engine.index import CandidateIndex
from guidealign_engine.library import Library
from guidealign_engine.tokenizer import QueryTokenizer

STARTER_BUNDLE = Path(__file__).parent / "starter"
_MAX_THREADS = 1024
_default_lock = Lock()


def load_engine(
    path: str | Path | None = None, *, device: str = "cpu", threads: int = 1, config: EngineConfig | None = None
) -> Engine:
    """Opens a bundle, verifies it and makes an engine of it.

    path: a bundle folder; None for the starter bundle inside this package.
    device: "cpu". A device that is not there is an error, never a silent fallback.
    threads: how many parts a large batch is split into; a single prompt takes one thread.

    Raises ArtifactError naming the file and field that is missing, damaged or does not fit, MissingDependencyError
    naming the extra to install, DeviceError for a missing device.
    """
    check_count("threads", threads, 1, _MAX_THREADS)
    check_device(device)
    config = config or EngineConfig()
    bundle = open_bundle(STARTER_BUNDLE if path is None else Path(path))
    return Engine(
        manifest=bundle.manifest,
        library=Library.from_bundle(bundle),
        tokenizer=QueryTokenizer.from_bundle(bundle),
        # Threads split a batch, so each stage of a slice keeps to one.
        encoder=OnnxEncoder.from_bundle(bundle, threads=1),
        index=CandidateIndex.from_bundle(bundle, nprobe=config.search.nprobe, threads=1),
        config=config,
        threads=threads,
    )


def default_engine() -> Engine:
    """The engine of the starter bundle, loaded at the first call of any thread and kept."""
    with _default_lock:
        return _loaded_default()


@cache
def _loaded_default() -> Engine:
    return load_engine()

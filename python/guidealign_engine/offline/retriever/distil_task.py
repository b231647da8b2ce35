"""What a transformer student is distilled on: rows to learn from and to hold out, and what tells them from others."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from guidealign_engine.errors import ConfigError
from guidealign_engine.offline.retriever.static_student import LibraryTargets
from guidealign_engine.offline.retriever.transformer_config import TransformerConfig


def held_out_rows(
    texts: int, config: TransformerConfig, library: LibraryTargets | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Held-out rows, none of them labelled, and the others, in which labelled ones come `pair_repeats` times."""
    order = np.random.default_rng(config.seed).permutation(texts)
    if library is None:
        return order[: config.held_out], order[config.held_out :]
    unlabelled = order[library.labels[order] < 0]
    if len(unlabelled) < config.held_out:
        raise ConfigError(
            f"{len(unlabelled)} texts without a guideline are too few to hold {config.held_out} out; give more texts"
        )
    held_out = unlabelled[: config.held_out]
    labelled = np.flatnonzero(library.labels >= 0)
    return held_out, np.concatenate([np.setdiff1d(order, held_out), *[labelled] * (config.pair_repeats - 1)])


def task_digest(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    targets: NDArray[np.float32],
    table: NDArray[np.float32],
    config: TransformerConfig,
    library: LibraryTargets | None,
) -> str:
    """Of everything that a checkpoint depends on."""
    digest = hashlib.sha256(repr((asdict(config), tokenizer.to_str(), list(texts))).encode("utf-8", "surrogatepass"))
    arrays = [targets, table] if library is None else [targets, table, library.vectors, library.labels]
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()

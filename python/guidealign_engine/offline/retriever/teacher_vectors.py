"""Teacher vectors of many texts, kept on disk chunk by chunk, so that a killed run goes on where it was."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.offline.retriever.teacher import Progress, Teacher

CHUNK = 2048


def teacher_vectors(
    teacher: Teacher, texts: Sequence[str], cache: Path, *, progress: Progress | None = None
) -> NDArray[np.float32]:
    """Unit vectors, float32 (texts, teacher dimension); kept in `cache` as float16, by teacher and text."""
    cache.mkdir(parents=True, exist_ok=True)
    parts = []
    for start in range(0, len(texts), CHUNK):
        chunk = texts[start : start + CHUNK]
        parts.append(_chunk_vectors(teacher, chunk, cache).astype(np.float32))
        if progress is not None:
            progress(start + len(chunk), len(texts))
    return np.concatenate(parts)


def _chunk_vectors(teacher: Teacher, chunk: Sequence[str], cache: Path) -> NDArray[np.float16]:
    digest = hashlib.sha256()
    for part in (teacher.fingerprint, str(teacher.max_tokens), *chunk):
        digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    file = cache / f"{digest.hexdigest()[:32]}.npy"
    if file.exists():
        kept: NDArray[np.float16] = np.load(file, allow_pickle=False)
        return kept
    vectors = teacher.embed(chunk, half_precision=True).astype(np.float16)
    unfinished = file.with_suffix(".tmp.npy")
    np.save(unfinished, vectors, allow_pickle=False)
    unfinished.replace(file)
    return vectors

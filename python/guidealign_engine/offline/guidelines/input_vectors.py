"""Vectors of inputs, by the shipped student or by its teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.building import StudentEmbedder, TextEmbedder
from guidealign_engine.bundle import ENCODER
from guidealign_engine.config import QueryConfig
from guidealign_engine.encoder import OnnxEncoder
from guidealign_engine.encoder_files import EncoderFiles, read_encoder_files
from guidealign_engine.errors import ConfigError, MissingDependencyError
from guidealign_engine.loading import STARTER_BUNDLE
from guidealign_engine.query import query_texts
from guidealign_engine.tokenizer import QueryTokenizer

EMBEDDERS = ("student", "teacher")


def input_embedder(name: str, report: Callable[[str], None]) -> Callable[[Sequence[str]], NDArray[np.float32]]:
    """Texts → unit vectors, float32 (texts, dimension), as the starter bundle's encoder, or its teacher, sees them."""
    if name not in EMBEDDERS:
        raise ConfigError(f"vectors by {name!r}; allowed: {', '.join(EMBEDDERS)}")
    files = read_encoder_files(STARTER_BUNDLE)
    embedder = _student(files) if name == "student" else _teacher(files)
    # What a request's text is cut to, so that inputs lie where the engine would look for them.
    return lambda texts: embedder.embed_texts(query_texts(list(texts), QueryConfig()), report)


def _student(files: EncoderFiles) -> TextEmbedder:
    tokenizer = QueryTokenizer(files.tokenizer.decode(), max_tokens=files.info.max_tokens, extras=files.extras)
    source = STARTER_BUNDLE / ENCODER
    return StudentEmbedder(
        tokenizer, OnnxEncoder(files.model, dimension=files.info.dimension, threads=1, source=source)
    )


def _teacher(files: EncoderFiles) -> TextEmbedder:
    if files.projection is None or files.info.teacher is None:
        raise ConfigError("the starter bundle has no teacher; use the student")
    for module, package in (("torch", "torch"), ("sentence_transformers", "sentence-transformers")):
        if find_spec(module) is None:
            raise MissingDependencyError(f"embedding by the teacher needs {module}", package=package, extra="offline")
    from guidealign_engine.offline.retriever.teacher_embedder import TeacherEmbedder

    return TeacherEmbedder(files.info.teacher, files.projection)

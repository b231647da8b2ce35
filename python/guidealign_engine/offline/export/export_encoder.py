"""From a sentence-transformers model to the files of an encoder, checked against it and measured."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.errors import ConfigError
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.offline.export.exported_graphs import export_graphs
from guidealign_engine.offline.export.parity import PARITY_TEXTS, texts_with_tokens
from guidealign_engine.offline.export.precision import Precision
from guidealign_engine.offline.export.sentence_model import QUERY_TOKENS, SentenceModel
from guidealign_engine.offline.retriever.student_files import StudentFiles
from guidealign_engine.offline.retriever.teacher import Projection
from guidealign_engine.query import visible
from guidealign_engine.tokenizer import QueryTokenizer

Report = Callable[[str], None]


def export_encoder(
    model: SentenceModel,
    files: StudentFiles,
    *,
    precision: Precision,
    dimension: int | None,
    texts: Sequence[str],
    records: Sequence[GuidelineRecord] = (),
    report: Report,
) -> dict[str, Any]:
    """Writes the encoder's files and returns its record; nothing is written when the graph differs from the model.

    dimension: of the vectors, the leading principal directions of the texts' vectors; None keeps the model's own.
    records: a library, over which it is counted how many of the top 6 guidelines survive the precision.
    Raises ConfigError for a dimension that the texts cannot give, and for a graph that differs from the model.
    """
    files.check_free()
    sample = _sample(model, texts)
    report(f"vectors of {len(sample)} texts in PyTorch")
    vectors = model.embed(sample)
    return _write(model, files, _projection(vectors, dimension), precision, sample, vectors, records, report)


def export_projected(
    model: SentenceModel,
    files: StudentFiles,
    projection: Projection,
    *,
    precision: Precision,
    texts: Sequence[str],
    records: Sequence[GuidelineRecord] = (),
    report: Report,
) -> dict[str, Any]:
    """As `export_encoder`, into the space of a projection that is there already, such as that of a student."""
    files.check_free()
    sample = _sample(model, texts)
    report(f"vectors of {len(sample)} texts in PyTorch")
    return _write(model, files, projection, precision, sample, model.embed(sample), records, report)


def _write(
    model: SentenceModel,
    files: StudentFiles,
    projection: Projection,
    precision: Precision,
    sample: Sequence[str],
    vectors: NDArray[np.float32],
    records: Sequence[GuidelineRecord],
    report: Report,
) -> dict[str, Any]:
    (exported,) = export_graphs(model, projection.matrix, sample, vectors, [precision], files.folder, records, report)
    size = projection.matrix.shape[1]
    digest = hashlib.sha256(exported.model.SerializeToString()).hexdigest()[:8]
    name = re.sub(r"[^\w.-]+", "-", Path(model.name).name)
    record = {
        "encoder": f"{name}-{precision}-{size}-{digest}",
        "teacher": model.name,
        "dimension": size,
        "vocabulary": model.tokenizer.get_vocab_size(),
        "max_tokens": model.max_tokens,
        **exported.record,
    }
    files.write(model=exported.model, tokenizer=model.tokenizer, projection=projection, record=record)
    return record


def _sample(model: SentenceModel, texts: Sequence[str]) -> list[str]:
    tokenizer = QueryTokenizer(model.tokenizer.to_str(), max_tokens=QUERY_TOKENS)
    sample = texts_with_tokens([visible(text) for text in texts[:PARITY_TEXTS]], tokenizer)
    if not sample:
        raise ConfigError("there is no text to check the graph with; give --texts with some words")
    return sample


def _projection(vectors: NDArray[np.float32], dimension: int | None) -> Projection:
    if dimension is None:
        return Projection(np.eye(vectors.shape[1], dtype=np.float32))
    if dimension > len(vectors):
        raise ConfigError(
            f"dimension is {dimension}; {len(vectors)} texts cannot give more than {len(vectors)} directions"
        )
    # As it is read back from the files: a query and the library's vectors go through the same numbers.
    matrix = Projection.fit(vectors, dimension).matrix
    return Projection(matrix.astype(np.float16).astype(np.float32))

"""From a sentence-transformers model to the files of an encoder, checked against it and measured."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from guidealign_engine.building import folded
from guidealign_engine.errors import ConfigError
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.offline.export.parity import (
    PARITY_TEXTS,
    Agreement,
    check_parity,
    graph_embedder,
    texts_with_tokens,
)
from guidealign_engine.offline.export.precision import Precision, in_precision
from guidealign_engine.offline.export.sentence_model import QUERY_TOKENS, SentenceModel
from guidealign_engine.offline.export.sentence_onnx import export_transformer, whole_graph
from guidealign_engine.offline.retriever.student_files import StudentFiles
from guidealign_engine.offline.retriever.teacher import Projection
from guidealign_engine.query import visible
from guidealign_engine.tokenizer import QueryTokenizer

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ExportedGraph:
    """A graph, its agreement with PyTorch in float32, and what its precision lost of that."""

    model: onnx.ModelProto
    precision: Precision
    parity: Agreement
    loss: Agreement | None

    @property
    def record(self) -> dict[str, Any]:
        return {
            "precision": str(self.precision),
            "bytes": self.model.ByteSize(),
            "parity": asdict(self.parity),
            "loss": None if self.loss is None else asdict(self.loss),
        }


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
    projection = _projection(vectors, dimension)
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


def export_graphs(
    model: SentenceModel,
    projection: NDArray[np.float32],
    sample: Sequence[str],
    vectors: NDArray[np.float32],
    precisions: Sequence[Precision],
    beside: Path,
    records: Sequence[GuidelineRecord],
    report: Report,
) -> list[ExportedGraph]:
    """The model followed by a projection, in several precisions; `vectors` are what PyTorch makes of `sample`.

    beside: scratch files are written into its parent folder. Raises ConfigError for a graph that differs.
    """
    wanted = Projection(projection).apply(vectors)
    loses = any(precision is not Precision.FLOAT32 for precision in precisions)
    guidelines = Projection(projection).apply(_guideline_vectors(model, records)) if records and loses else None
    report("ONNX graph by optimum")
    beside.parent.mkdir(parents=True, exist_ok=True)
    transformer = export_transformer(model, beside.parent)

    def agreement(graph: onnx.ModelProto, library: NDArray[np.float32] | None) -> Agreement:
        embedder = graph_embedder(
            graph.SerializeToString(), model.tokenizer.to_str(), projection.shape[1], QUERY_TOKENS
        )
        return Agreement.of(embedder.embed_texts(sample, report), wanted, library)

    def whole(precision: Precision) -> onnx.ModelProto:
        return whole_graph(in_precision(transformer, precision), model.markers, model.max_tokens, projection)

    exact = whole(Precision.FLOAT32)
    parity = agreement(exact, None)
    report(f"ONNX against PyTorch: {parity}")
    check_parity(parity, model.name)
    exported = []
    for precision in precisions:
        if precision is Precision.FLOAT32:
            exported.append(ExportedGraph(exact, precision, parity, None))
            continue
        graph = whole(precision)
        loss = agreement(graph, guidelines)
        report(f"{precision} against PyTorch: {loss}")
        exported.append(ExportedGraph(graph, precision, parity, loss))
    return exported


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


def _guideline_vectors(model: SentenceModel, records: Sequence[GuidelineRecord]) -> NDArray[np.float32]:
    texts = [visible(text) for record in records for text in (record.entry, *record.examples)]
    owners = np.repeat(np.arange(len(records)), [1 + len(record.examples) for record in records]).astype(np.int32)
    return folded(model.embed(texts), owners)

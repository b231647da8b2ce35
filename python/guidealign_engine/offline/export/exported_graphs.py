"""A sentence-transformers model as ONNX graphs in several precisions, checked against it and measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from guidealign_engine.building import folded
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.offline.export.parity import Agreement, check_parity, graph_embedder
from guidealign_engine.offline.export.precision import Precision, in_precision
from guidealign_engine.offline.export.sentence_model import QUERY_TOKENS, SentenceModel
from guidealign_engine.offline.export.sentence_onnx import export_transformer, whole_graph
from guidealign_engine.offline.retriever.teacher import Projection
from guidealign_engine.query import visible

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


def _guideline_vectors(model: SentenceModel, records: Sequence[GuidelineRecord]) -> NDArray[np.float32]:
    texts = [visible(text) for record in records for text in (record.entry, *record.examples)]
    owners = np.repeat(np.arange(len(records)), [1 + len(record.examples) for record in records]).astype(np.int32)
    return folded(model.embed(texts), owners)

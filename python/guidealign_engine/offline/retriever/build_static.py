"""Distils a static student and writes its files: one learned vector a token, in int8."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.building import StudentEmbedder
from guidealign_engine.bundle import ENCODER
from guidealign_engine.encoder import OnnxEncoder
from guidealign_engine.offline.export.parity import Agreement, check_parity
from guidealign_engine.offline.export.precision import Precision
from guidealign_engine.offline.export.static_onnx import QuantisedTable, export_static
from guidealign_engine.offline.retriever.static_student import DistilConfig, distil
from guidealign_engine.offline.retriever.student_files import StudentFiles
from guidealign_engine.offline.retriever.student_task import StudentTask, graph_digest, history_record


def build_static(task: StudentTask, files: StudentFiles, config: DistilConfig, record: dict[str, Any]) -> None:
    """Raises ConfigError when the graph differs from the table that it was made of."""
    report = task.report
    table, distilled = distil(
        task.reader,
        task.texts,
        task.targets,
        task.table,
        config,
        library=task.library,
        dev=task.dev,
        device=task.device,
        progress=lambda epoch, epochs, share: report(f"  epoch {epoch} of {epochs}: held-out agreement {share:.4f}"),
    )
    quantised = QuantisedTable.quantise(table)
    model = export_static(quantised)
    found = _graph_vectors(task, model.SerializeToString())
    parity = Agreement.of(found, _table_vectors(task, quantised.values * quantised.scales))
    loss = Agreement.of(found, _table_vectors(task, table))
    report(f"ONNX against its own table: {parity}")
    report(f"int8 against float32: {loss}")
    check_parity(parity, "its own table")
    files.write(
        model=model,
        tokenizer=task.tokenizer,
        projection=task.projection,
        extras=task.extras,
        record={
            "encoder": f"static-{table.shape[1]}-{graph_digest(model)}",
            **record,
            "distil": asdict(config),
            **history_record(distilled),
            "precision": str(Precision.INT8),
            "bytes": model.ByteSize(),
            "parity": asdict(parity),
            "loss": asdict(loss),
        },
    )


def _graph_vectors(task: StudentTask, model: bytes) -> NDArray[np.float32]:
    encoder = OnnxEncoder(model, dimension=task.table.shape[1], threads=1, source=Path(ENCODER))
    return StudentEmbedder(task.reader, encoder).embed_texts(task.sample, task.report)


def _table_vectors(task: StudentTask, table: NDArray[np.float32]) -> NDArray[np.float32]:
    """The plain sum of the table's rows, scaled to unit length."""
    summed = np.array([table[ids].sum(axis=0) for ids in task.reader.encode(task.sample).rows()], dtype=np.float32)
    unit: NDArray[np.float32] = summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-12)
    return unit

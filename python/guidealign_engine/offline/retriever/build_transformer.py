"""Distils a transformer student and writes its files, in its precision and in float32."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from guidealign_engine.offline.export.exported_graphs import export_graphs
from guidealign_engine.offline.export.precision import Precision
from guidealign_engine.offline.export.sentence_model import SentenceModel
from guidealign_engine.offline.retriever.checkpoints import CHECKPOINT
from guidealign_engine.offline.retriever.student_files import StudentFiles
from guidealign_engine.offline.retriever.student_task import StudentTask, graph_digest, history_record
from guidealign_engine.offline.retriever.transformer_config import TransformerConfig
from guidealign_engine.offline.retriever.transformer_student import TransformerDistiller


def build_transformer(
    task: StudentTask, files: StudentFiles, config: TransformerConfig, record: dict[str, Any]
) -> None:
    """Keeps a checkpoint in the student's folder until all is written. Raises ConfigError when a graph differs."""
    number_format = "bfloat16" if task.device.type == "cuda" else "float32"
    task.report(f"{config.layers} layers of {config.width}, {config.batch_size} texts a step, in {number_format}")
    distiller = TransformerDistiller(
        task.tokenizer,
        task.texts,
        task.targets,
        task.table,
        config,
        library=task.library,
        device=task.device,
        report=task.report,
    )
    files.folder.mkdir(parents=True, exist_ok=True)
    checkpoint = files.folder / CHECKPOINT
    distilled = distiller.train(checkpoint)
    with tempfile.TemporaryDirectory(dir=files.folder) as scratch:
        student = SentenceModel.of(distiller.model.sentence_model(task.tokenizer, Path(scratch)), "the student")
    kept = np.eye(task.projection.matrix.shape[1], dtype=np.float32)
    vectors = student.embed(task.sample)
    precisions = list(dict.fromkeys([Precision.FLOAT32, config.precision]))
    exported = export_graphs(student, kept, task.sample, vectors, precisions, files.folder, (), task.report)
    exact = StudentFiles(files.folder / "float32")
    if exact.folder.exists():  # of a run that was killed right here
        shutil.rmtree(exact.folder)
    places = {Precision.FLOAT32: exact, config.precision: files}
    for graph in exported:
        name = f"bert-{config.layers}x{config.width}-{graph.precision}-{len(kept)}"
        places[graph.precision].write(
            model=graph.model,
            tokenizer=task.tokenizer,
            projection=task.projection,
            extras=task.extras,
            record={
                "encoder": f"{name}-{graph_digest(graph.model)}",
                **record,
                "transformer": asdict(config),
                **history_record(distilled),
                **graph.record,
            },
        )
    checkpoint.unlink()

"""From unlabelled texts to a student encoder: vocabulary, teacher vectors, distillation, export."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from guidealign_engine.building import folded
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.offline.export.export_encoder import export_graphs
from guidealign_engine.offline.export.parity import (
    PARITY_TEXTS,
    Agreement,
    check_parity,
    graph_embedder,
    texts_with_tokens,
)
from guidealign_engine.offline.export.precision import Precision
from guidealign_engine.offline.export.sentence_model import QUERY_TOKENS, SentenceModel
from guidealign_engine.offline.export.static_onnx import QuantisedTable, export_static
from guidealign_engine.offline.retriever.kept_vocabulary import kept_vocabulary
from guidealign_engine.offline.retriever.static_student import (
    DevInputs,
    DistilConfig,
    DistilReport,
    LibraryTargets,
    distil,
    initial_table,
)
from guidealign_engine.offline.retriever.student_files import StudentFiles
from guidealign_engine.offline.retriever.teacher import DEFAULT_TEACHER, Projection, Teacher
from guidealign_engine.offline.retriever.teacher_vectors import teacher_vectors
from guidealign_engine.offline.retriever.train_teacher import TrainingInput
from guidealign_engine.offline.retriever.transformer_student import TransformerConfig, TransformerDistiller
from guidealign_engine.tokenizer import QueryTokenizer

Report = Callable[[str], None]

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentConfig:
    teacher: str = DEFAULT_TEACHER
    dimension: int = 256
    vocabulary: int = 30_000
    distil: DistilConfig = field(default_factory=DistilConfig)
    transformer: TransformerConfig | None = None
    """None makes a static student."""


@dataclass(frozen=True, slots=True)
class StudentMaterial:
    """Unlabelled texts, and the library with its training inputs; either of the latter may be empty."""

    texts: Sequence[str]
    records: Sequence[GuidelineRecord] = ()
    inputs: Sequence[TrainingInput] = ()
    dev: DevInputs | None = None
    """What the best epoch of a static student is chosen by."""

    @property
    def all_texts(self) -> list[str]:
        """The guidelines' entries, the inputs, the texts."""
        return [*(record.entry for record in self.records), *(each.text for each in self.inputs), *self.texts]


@dataclass(frozen=True, slots=True)
class _Task:
    """What a student of either kind is distilled from."""

    tokenizer: Tokenizer
    texts: Sequence[str]
    projection: Projection
    targets: NDArray[np.float32]
    table: NDArray[np.float32]
    library: LibraryTargets | None
    dev: DevInputs | None
    sample: list[str]
    """Texts that a graph is checked with."""
    report: Report


def build_student(
    material: StudentMaterial,
    vocabulary_texts: Sequence[str],
    files: StudentFiles,
    cache: Path,
    config: StudentConfig,
    report: Report,
) -> None:
    """Distils a student and writes its files. Vocabulary and teacher vectors are kept in `cache`.

    A transformer is kept in the student's folder after each epoch, as a checkpoint that a killed run goes on from; its
    files are in int8, and those in float32 in the folder float32 below.
    """
    files.check_free()
    texts = material.all_texts
    teacher = Teacher(config.teacher)
    report(f"vocabulary of {config.vocabulary} from {len(vocabulary_texts)} texts")
    tokenizer = kept_vocabulary(vocabulary_texts, config.vocabulary, cache)

    report(f"teacher vectors of {len(texts)} texts")
    vectors = teacher_vectors(teacher, texts, cache, progress=lambda done, all_: report(f"  {done} of {all_}"))
    projection = Projection.fit(vectors, config.dimension)
    targets = projection.apply(vectors)
    library = _library_targets(material, targets) if material.inputs else None
    report("first token table")
    table = initial_table(tokenizer, lambda tokens: projection.apply(teacher_vectors(teacher, tokens, cache)))
    reader = QueryTokenizer(tokenizer.to_str(), max_tokens=QUERY_TOKENS)
    sample = texts_with_tokens(texts[:PARITY_TEXTS], reader)
    task = _Task(tokenizer, texts, projection, targets, table, library, material.dev, sample, report)
    record = {
        "teacher": config.teacher,
        "dimension": config.dimension,
        "vocabulary": tokenizer.get_vocab_size(),
        "texts": len(texts),
        "guidelines": len(material.records),
        "labelled_inputs": len(material.inputs),
    }
    if config.transformer is None:
        _static(task, files, config.distil, record)
    else:
        held_out = min(config.transformer.held_out, config.distil.held_out)
        _transformer(task, files, replace(config.transformer, held_out=held_out), record)


def _static(task: _Task, files: StudentFiles, config: DistilConfig, record: dict[str, Any]) -> None:
    report = task.report
    table, distilled = distil(
        task.tokenizer,
        task.texts,
        task.targets,
        task.table,
        config,
        library=task.library,
        dev=task.dev,
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
        record={
            "encoder": f"static-{table.shape[1]}-{_digest(model.SerializeToString())}",
            **record,
            "distil": asdict(config),
            **_history(distilled),
            "precision": str(Precision.INT8),
            "bytes": model.ByteSize(),
            "parity": asdict(parity),
            "loss": asdict(loss),
        },
    )


def _transformer(task: _Task, files: StudentFiles, config: TransformerConfig, record: dict[str, Any]) -> None:
    distiller = TransformerDistiller(
        task.tokenizer, task.texts, task.targets, task.table, config, library=task.library, report=task.report
    )
    files.folder.mkdir(parents=True, exist_ok=True)
    checkpoint = files.folder / CHECKPOINT
    distilled = distiller.train(checkpoint)
    with tempfile.TemporaryDirectory(dir=files.folder) as scratch:
        student = SentenceModel.of(distiller.model.sentence_model(task.tokenizer, Path(scratch)), "the student")
    kept = np.eye(task.projection.matrix.shape[1], dtype=np.float32)
    precisions = [Precision.FLOAT32, Precision.INT8]
    vectors = student.embed(task.sample)
    exported = export_graphs(student, kept, task.sample, vectors, precisions, files.folder, (), task.report)
    exact = StudentFiles(files.folder / "float32")
    if exact.folder.exists():  # of a run that was killed right here
        shutil.rmtree(exact.folder)
    for graph, place in zip(exported, (exact, files), strict=True):
        name = f"bert-{config.layers}x{config.width}-{graph.precision}-{len(kept)}"
        place.write(
            model=graph.model,
            tokenizer=task.tokenizer,
            projection=task.projection,
            record={
                "encoder": f"{name}-{_digest(graph.model.SerializeToString())}",
                **record,
                "transformer": asdict(config),
                **_history(distilled),
                **graph.record,
            },
        )
    checkpoint.unlink()


def _history(distilled: DistilReport) -> dict[str, Any]:
    agreement = {
        "held_out_cosine": distilled.cosine,
        "held_out_overlap_at_6": distilled.overlap,
        "dev_recall_at_6": distilled.recall,
    }
    rounded = {name: [round(value, 5) for value in values] for name, values in agreement.items() if values}
    return {**rounded, "best_epoch": distilled.best_epoch}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]


def _library_targets(material: StudentMaterial, targets: NDArray[np.float32]) -> LibraryTargets:
    """Each guideline's entry and examples folded to one vector, and which input belongs to which of them."""
    guidelines = len(material.records)
    rows_of: list[list[int]] = [[row] for row in range(guidelines)]
    labels = np.full(len(targets), -1, dtype=np.int64)
    for row, each in enumerate(material.inputs, start=guidelines):
        labels[row] = each.guidelines[0]
        for guideline in each.guidelines:
            rows_of[guideline].append(row)
    rows = np.concatenate([np.array(own) for own in rows_of])
    owners = np.repeat(np.arange(guidelines, dtype=np.int32), [len(own) for own in rows_of])
    return LibraryTargets(folded(targets[rows], owners), labels)


def _graph_vectors(task: _Task, model: bytes) -> NDArray[np.float32]:
    embedder = graph_embedder(model, task.tokenizer.to_str(), task.table.shape[1], QUERY_TOKENS)
    return embedder.embed_texts(task.sample, task.report)


def _table_vectors(task: _Task, table: NDArray[np.float32]) -> NDArray[np.float32]:
    """The plain sum of the table's rows, scaled to unit length."""
    tokenizer = QueryTokenizer(task.tokenizer.to_str(), max_tokens=QUERY_TOKENS)
    summed = np.array([table[ids].sum(axis=0) for ids in tokenizer.encode(task.sample).rows()], dtype=np.float32)
    unit: NDArray[np.float32] = summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-12)
    return unit

"""From unlabelled texts to a student encoder: vocabulary, teacher vectors, distillation, ONNX, parity."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from guidealign_engine.building import folded
from guidealign_engine.errors import ConfigError
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.offline.export.static_onnx import QuantisedTable, export_static
from guidealign_engine.offline.retriever.static_student import (
    DistilConfig,
    LibraryTargets,
    distil,
    initial_table,
)
from guidealign_engine.offline.retriever.student_files import StudentFiles
from guidealign_engine.offline.retriever.teacher import DEFAULT_TEACHER, Projection, Teacher
from guidealign_engine.offline.retriever.teacher_vectors import teacher_vectors
from guidealign_engine.offline.retriever.train_teacher import TrainingInput
from guidealign_engine.offline.retriever.vocabulary import train_vocabulary

Report = Callable[[str], None]

PARITY_TEXTS = 1000
PARITY_COSINE = 0.9999


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentConfig:
    teacher: str = DEFAULT_TEACHER
    dimension: int = 256
    vocabulary: int = 30_000
    distil: DistilConfig = field(default_factory=DistilConfig)


@dataclass(frozen=True, slots=True)
class StudentMaterial:
    """Unlabelled texts, and the library with its training inputs; either of the latter may be empty."""

    texts: Sequence[str]
    records: Sequence[GuidelineRecord] = ()
    inputs: Sequence[TrainingInput] = ()

    @property
    def all_texts(self) -> list[str]:
        """The guidelines' entries, the inputs, the texts."""
        return [*(record.entry for record in self.records), *(each.text for each in self.inputs), *self.texts]


def build_student(
    material: StudentMaterial,
    vocabulary_texts: Sequence[str],
    files: StudentFiles,
    cache: Path,
    config: StudentConfig,
    report: Report,
) -> None:
    """Distils a static student and writes its files. Teacher vectors are kept in `cache`."""
    texts = material.all_texts
    teacher = Teacher(config.teacher)
    report(f"vocabulary of {config.vocabulary} from {len(vocabulary_texts)} texts")
    tokenizer = train_vocabulary(vocabulary_texts, config.vocabulary)

    report(f"teacher vectors of {len(texts)} texts")
    vectors = teacher_vectors(teacher, texts, cache, progress=lambda done, all_: report(f"  {done} of {all_}"))
    projection = Projection.fit(vectors, config.dimension)
    targets = projection.apply(vectors)

    library = _library_targets(material, targets) if material.inputs else None
    report("first token table")
    table = initial_table(tokenizer, lambda tokens: projection.apply(teacher_vectors(teacher, tokens, cache)))
    table, distilled = distil(
        tokenizer,
        texts,
        targets,
        table,
        config.distil,
        library=library,
        progress=lambda epoch, epochs, cosine: report(f"  epoch {epoch} of {epochs}: held-out cosine {cosine:.4f}"),
    )

    quantised = QuantisedTable.quantise(table)
    model = export_static(quantised)
    sample = list(texts[:PARITY_TEXTS])
    parity = _cosines(tokenizer, sample, model.SerializeToString(), quantised.values * quantised.scales)
    rounding = _cosines(tokenizer, sample, model.SerializeToString(), table)
    report(f"ONNX against its own table: lowest cosine {parity.min():.6f}; int8 against float32: {rounding.min():.6f}")
    if parity.min() < PARITY_COSINE:
        raise ConfigError(f"the ONNX graph differs from the table: cosine {parity.min():.6f} < {PARITY_COSINE}")
    files.write(
        model=model,
        tokenizer=tokenizer,
        projection=projection,
        record={
            "encoder": f"static-{config.dimension}-{hashlib.sha256(model.SerializeToString()).hexdigest()[:8]}",
            "teacher": config.teacher,
            "dimension": config.dimension,
            "vocabulary": tokenizer.get_vocab_size(),
            "texts": len(texts),
            "guidelines": len(material.records),
            "labelled_inputs": len(material.inputs),
            "distil": asdict(config.distil),
            "held_out_cosine": [round(cosine, 5) for cosine in distilled.cosine],
            "best_epoch": distilled.best_epoch,
            "parity_lowest_cosine": float(parity.min()),
            "int8_lowest_cosine": float(rounding.min()),
            "int8_mean_cosine": float(rounding.mean()),
        },
    )


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


def _cosines(
    tokenizer: Tokenizer, texts: Sequence[str], model: bytes, table: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Cosine of the graph's vector of each text with the plain sum of the table's rows."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    cosines = []
    for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False):
        ids = np.array([encoding.ids], dtype=np.int64)
        weights = np.ones((1, 1, ids.shape[1]), dtype=np.uint8)
        vector = session.run(None, {"input_ids": ids, "token_weights": weights})[0][0]
        summed = table[encoding.ids].sum(axis=0)
        cosines.append(float(vector @ summed / max(float(np.linalg.norm(summed)), 1e-12)))
    return np.array(cosines, dtype=np.float32)

"""The teacher as an encoder of queries, for devices on which its size costs little."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load

from guidealign_engine.encoder_files import read_encoder_files
from guidealign_engine.errors import ArtifactError
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.offline.export.export_encoder import Report, export_projected
from guidealign_engine.offline.export.parity import PARITY_TEXTS
from guidealign_engine.offline.export.precision import Precision
from guidealign_engine.offline.export.sentence_model import SentenceModel
from guidealign_engine.offline.retriever.student_files import StudentFiles
from guidealign_engine.offline.retriever.teacher import Projection
from guidealign_engine.offline.retriever.texts import sample_texts


def export_teacher(
    teacher: str, student: Path, out: Path, texts: Sequence[str], records: Sequence[GuidelineRecord], report: Report
) -> dict[str, Any]:
    """Writes the teacher's files in float16 to `out`, followed by the projection of the student in folder `student`.

    So both read queries into one space, and the library has the same vectors for both. Returns the record. Raises what
    `export_projected` raises, and ArtifactError for a student without a projection.
    """
    projection = read_encoder_files(student).projection
    if projection is None:
        raise ArtifactError("the student has no teacher's projection", file=student)
    return export_projected(
        SentenceModel.open(teacher),
        StudentFiles(out),
        Projection(load(projection)["projection"].astype(np.float32)),
        precision=Precision.FLOAT16,
        texts=sample_texts(texts, PARITY_TEXTS, seed=0),
        records=records,
        report=report,
    )

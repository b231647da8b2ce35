"""What `build teacher` and `build student` do with what was read; `build all` does the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from guidealign_engine.library import GuidelineRecord
from guidealign_engine.offline.retriever.build_student import StudentConfig, StudentMaterial, build_student
from guidealign_engine.offline.retriever.build_teacher import BuildTeacherConfig, build_teacher
from guidealign_engine.offline.retriever.material import dev_inputs, teacher_material, training_pairs
from guidealign_engine.offline.retriever.student_files import StudentFiles
from guidealign_engine.offline.retriever.texts import sample_texts
from guidealign_engine.pairs import Pair

Report = Callable[[str], None]

_HELD_OUT_SHARE = 10


def run_teacher(
    records: Sequence[GuidelineRecord],
    pairs: Sequence[Pair],
    texts: Iterable[str],
    harmless: Iterable[str],
    *,
    limit: int,
    out: Path,
    config: BuildTeacherConfig,
    report: Report,
) -> None:
    """Trains a teacher on the guidelines, the pairs, and `limit` texts and harmless ones that are drawn."""
    drawn = sample_texts(texts, limit, seed=0)
    material = teacher_material(records, pairs, drawn, sample_texts(harmless, limit, seed=1))
    build_teacher(material, out, config, report)


def run_student(
    records: Sequence[GuidelineRecord],
    pairs: Sequence[Pair],
    texts: Iterable[str],
    *,
    limit: int,
    out: Path,
    cache: Path,
    config: StudentConfig,
    report: Report,
) -> None:
    """Learns a vocabulary from all texts, and distils a student on `limit` of them, the guidelines and the pairs."""
    pool = list(texts)
    inputs, harmless = training_pairs(records, pairs)
    material = StudentMaterial(
        [*sample_texts(pool, limit, seed=0), *harmless], records, inputs, dev_inputs(records, pairs)
    )
    # A tenth of few texts is enough to see which epoch was best.
    held_out = min(config.distil.held_out, max(1, len(material.texts) // _HELD_OUT_SHARE))
    fitting = replace(config, distil=replace(config.distil, held_out=held_out))
    build_student(material, pool, StudentFiles(out), cache, fitting, report)

"""The steps of `guidealign build all` that train: teacher and student."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from guidealign_engine.encoder_files import STUDENT_RECORD, read_encoder_files
from guidealign_engine.offline.retriever.all_material import AllMaterial
from guidealign_engine.offline.retriever.build_all_config import TRAIN, BuildAllConfig
from guidealign_engine.offline.retriever.build_teacher import CHECKPOINT
from guidealign_engine.offline.retriever.encoder_runs import run_student, run_teacher
from guidealign_engine.offline.retriever.step_folders import Report, Step, folder_digest
from guidealign_engine.offline.retriever.teacher import SHIPPED_TEACHER, TUNED_TEACHER, find_teacher
from guidealign_engine.offline.retriever.tuned_teacher import TEACHER_RECORD


def teacher_digest(teacher: str) -> str:
    """What tells a teacher from others: its name, and its files where it lies in a folder."""
    folder = SHIPPED_TEACHER if teacher == TUNED_TEACHER else Path(teacher)
    return f"{teacher} {folder_digest(folder)}" if teacher != TRAIN and folder.is_dir() else teacher


def teacher_step(material: AllMaterial, config: BuildAllConfig) -> Step:
    """Trains a teacher; goes on from the last epoch."""

    def run(folder: Path, report: Report) -> Mapping[str, Any]:
        if not _is_whole(folder, TEACHER_RECORD):
            run_teacher(
                material.records,
                material.pairs,
                material.texts,
                material.harmless,
                limit=config.limit,
                out=folder,
                config=config.training,
                report=report,
            )
        return {}

    options = {**asdict(config.training), "base": teacher_digest(find_teacher(config.training.base))}
    digests = {**material.training_digests, "harmless texts": material.digests["harmless texts"]}
    return Step(name="teacher", inputs=digests | _common(config) | _flat(options), run=run, goes_on=True)


def student_step(
    material: AllMaterial, config: BuildAllConfig, teacher: str, made_by: Mapping[str, str], work: Path
) -> Step:
    """Distils a student; goes on from the vectors that the teacher made, and a transformer from its last epoch.

    made_by: what tells the teacher from others. work: where the vectors are kept, beside the step's folder.
    """

    def run(folder: Path, report: Report) -> Mapping[str, Any]:
        if not _is_whole(folder, STUDENT_RECORD):
            run_student(
                material.records,
                material.pairs,
                material.texts,
                limit=config.limit,
                out=folder,
                cache=work / "vectors",
                config=replace(config.student, teacher=teacher),
                report=report,
            )
        return {"encoder": read_encoder_files(folder).info.id}

    options = {name: value for name, value in asdict(config.student).items() if name != "teacher"}
    return Step(
        name="student",
        inputs={**material.training_digests, "dev pairs": material.digests["dev pairs"], **made_by}
        | _common(config)
        | _flat(options),
        run=run,
        goes_on=True,
    )


def _is_whole(folder: Path, record: str) -> bool:
    """Whether a killed run had written all; if not, what it left is made ready for going on.

    The record is written last but for the checkpoint, which goes after it: beside a checkpoint it may be cut off.
    """
    if (folder / CHECKPOINT).exists():
        (folder / record).unlink(missing_ok=True)
    if (folder / record).exists():
        return True
    for left in folder.iterdir():
        if left.is_dir():
            shutil.rmtree(left)
    return False


def _common(config: BuildAllConfig) -> dict[str, Any]:
    return {"limit": config.limit, "version": version("guidealign-engine")}


def _flat(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of options by their own names, so that a change is told by the name that a user knows."""
    flat = dict[str, Any]()
    for name, value in options.items():
        flat.update(value if isinstance(value, dict) else {name: value})
    return flat

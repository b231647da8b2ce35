"""The steps of `guidealign build all` that make encoders: teacher, student, and the student for GPUs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from guidealign_engine.encoder_files import STUDENT_RECORD, read_encoder_files
from guidealign_engine.offline.retriever.all_material import AllMaterial
from guidealign_engine.offline.retriever.build_all_config import TRAIN, BuildAllConfig
from guidealign_engine.offline.retriever.build_student import StudentConfig
from guidealign_engine.offline.retriever.checkpoints import CHECKPOINT
from guidealign_engine.offline.retriever.encoder_runs import run_student, run_teacher
from guidealign_engine.offline.retriever.exported_teacher import export_teacher
from guidealign_engine.offline.retriever.steps import Report, Step, folder_digest
from guidealign_engine.offline.retriever.teacher import SHIPPED_TEACHER, TUNED_TEACHER, find_teacher
from guidealign_engine.offline.retriever.training_device import described
from guidealign_engine.offline.retriever.tuned_teacher import TEACHER_RECORD

TEACHER = "teacher"
STUDENT = "student"


def teacher_digest(teacher: str) -> str:
    """What tells a teacher from others: its name, and its files where it lies in a folder."""
    folder = SHIPPED_TEACHER if teacher == TUNED_TEACHER else Path(teacher)
    return f"{teacher} {folder_digest(folder)}" if teacher != TRAIN and folder.is_dir() else teacher


def teacher_step(material: AllMaterial, config: BuildAllConfig, device: torch.device) -> Step:
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
                device=device,
            )
        return {"device": described(device)}

    options = {**asdict(config.training), "base": teacher_digest(find_teacher(config.training.base))}
    digests = {**material.training_digests, "harmless texts": material.digests["harmless texts"]}
    return Step(name=TEACHER, inputs=digests | _common(config) | _flat(options), run=run, goes_on=True)


def student_step(
    material: AllMaterial,
    config: BuildAllConfig,
    student: StudentConfig,
    made_by: Mapping[str, str],
    work: Path,
    device: torch.device,
    *,
    name: str = STUDENT,
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
                material.passages,
                limit=config.limit,
                out=folder,
                cache=work / "vectors",
                config=student,
                report=report,
                device=device,
            )
        return {"encoder": read_encoder_files(folder).info.id, "device": described(device)}

    options = {name: value for name, value in asdict(student).items() if name != "teacher"}
    return Step(
        name=name,
        inputs={**material.training_digests, **{name: material.digests[name] for name in ("dev pairs", "passages")}}
        | dict(made_by)
        | _common(config)
        | _flat(options),
        run=run,
        after=(TEACHER,) if config.teacher == TRAIN else (),
        goes_on=True,
    )


def exported_teacher_step(
    material: AllMaterial, config: BuildAllConfig, teacher: str, student: Step, work: Path, *, name: str
) -> Step:
    """The teacher itself as an encoder of queries in float16, in the space of the student of step `student`."""

    def run(folder: Path, report: Report) -> Mapping[str, Any]:
        record = export_teacher(teacher, work / student.name, folder, material.texts, material.records, report)
        return {"encoder": record["encoder"], "loss": record["loss"]}

    return Step(
        name=name,
        inputs={**material.training_digests, **_common(config), student.name: student.fingerprint},
        run=run,
        after=(*student.after, student.name),
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

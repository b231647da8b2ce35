"""The steps of `guidealign build all`: what each depends on, and what it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from guidealign_engine.building import StudentEmbedder, build_bundle
from guidealign_engine.calibrated_bundle import publish_calibrated
from guidealign_engine.encoder_files import read_encoder_files
from guidealign_engine.errors import ArtifactError
from guidealign_engine.loading import load_engine
from guidealign_engine.offline.retriever.all_material import AllMaterial
from guidealign_engine.offline.retriever.build_all_config import TRAIN, BuildAllConfig, GpuStudent
from guidealign_engine.offline.retriever.dev_quality import dev_quality
from guidealign_engine.offline.retriever.encoder_steps import (
    STUDENT,
    exported_teacher_step,
    student_step,
    teacher_digest,
    teacher_step,
)
from guidealign_engine.offline.retriever.steps import Report, Step
from guidealign_engine.offline.retriever.teacher_embedder import TeacherEmbedder
from guidealign_engine.offline.retriever.training_device import choose_device
from guidealign_engine.pairs import train_inputs
from guidealign_engine.verification import verify_bundle

BUNDLE = "bundle"
GPU = "gpu-"
"""Before the names of the steps that make the bundle for GPUs."""


def plan_all(material: AllMaterial, work: Path, config: BuildAllConfig) -> list[Step]:
    """The steps in their order, each with what it depends on; nothing is run."""
    device = choose_device(config.device)
    steps = list[Step]()
    teacher, made_by = config.teacher, {"teacher": teacher_digest(config.teacher)}
    if config.teacher == TRAIN:
        steps.append(teacher_step(material, config, device))
        teacher, made_by = str(work / "teacher"), {"teacher": steps[-1].fingerprint}
    elif Path(teacher).exists():
        teacher = str(Path(teacher).resolve())
    student = student_step(material, config, replace(config.student, teacher=teacher), made_by, work, device)
    steps += [student, *_bundle_steps(material, config, student, work, device)]
    if config.gpu_student is GpuStudent.TEACHER:
        gpu_student = exported_teacher_step(material, config, teacher, student, work, name=GPU + STUDENT)
    elif config.gpu_transformer is not None:
        own = replace(config.student, teacher=teacher, transformer=config.gpu_transformer)
        gpu_student = student_step(material, config, own, made_by, work, device, name=GPU + STUDENT)
    else:
        return steps
    for_gpu = replace(config, name=f"{config.name}-gpu")
    return [*steps, gpu_student, *_bundle_steps(material, for_gpu, gpu_student, work, device, prefix=GPU)]


def _bundle_steps(
    material: AllMaterial, config: BuildAllConfig, student: Step, work: Path, device: torch.device, prefix: str = ""
) -> list[Step]:
    """From a student to a bundle that is calibrated, verified and measured."""
    bundle = _bundle_step(material, config, student, work, device, f"{prefix}bundle")
    calibrate = _calibrate_step(material, config, bundle, work, f"{prefix}calibrate")
    calibrated = work / calibrate.name / BUNDLE
    verify = Step(
        name=f"{prefix}verify",
        inputs={"calibrate": calibrate.fingerprint},
        run=lambda folder, report: {"checks": list(verify_bundle(calibrated))},
        after=(calibrate.name,),
    )
    quality = Step(
        name=f"{prefix}quality",
        inputs={"dev pairs": material.digests["dev pairs"], "verify": verify.fingerprint},
        run=lambda folder, report: dev_quality(load_engine(calibrated), material.dev),
        after=(verify.name,),
    )
    return [bundle, calibrate, verify, quality]


def _bundle_step(
    material: AllMaterial, config: BuildAllConfig, student: Step, work: Path, device: torch.device, name: str
) -> Step:
    def run(folder: Path, report: Report) -> Mapping[str, Any]:
        source = work / student.name
        files = read_encoder_files(source)
        if files.projection is None or files.info.teacher is None:
            raise ArtifactError("the student has no teacher's projection", file=source)
        manifest = build_bundle(
            material.records,
            folder / BUNDLE,
            name=config.name,
            created_by=f"guidealign-engine {version('guidealign-engine')}",
            encoder_files=files,
            student=StudentEmbedder.from_files(files, source),
            library_embedder=TeacherEmbedder(files.info.teacher, files.projection, device=device),
            index_kind=config.index,
            store=config.store,
            inputs=train_inputs(material.pairs),
            queries=[pair.input for pair in material.dev],
            recall=config.recall,
            report=report,
        )
        return {"index": asdict(manifest.index)}

    options = {"name": config.name, "store": config.store, "index": config.index or "by size", "recall": config.recall}
    digests = {name: material.digests[name] for name in ("guidelines", "train pairs", "dev pairs")}
    inputs = {**digests, **options, "student": student.fingerprint}
    return Step(name=name, inputs=inputs, run=run, after=(student.name,))


def _calibrate_step(material: AllMaterial, config: BuildAllConfig, bundle: Step, work: Path, name: str) -> Step:
    def run(folder: Path, report: Report) -> Mapping[str, Any]:
        found = publish_calibrated(
            work / bundle.name / BUNDLE, folder / BUNDLE, material.dev, false_alarms=config.false_alarms
        )
        return found.as_dict()

    inputs = {"dev pairs": material.digests["dev pairs"], "false alarms": config.false_alarms}
    return Step(name=name, inputs={**inputs, "bundle": bundle.fingerprint}, run=run, after=(bundle.name,))

"""The steps of `guidealign build all`: what each depends on, and what it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from guidealign_engine.building import StudentEmbedder, build_bundle
from guidealign_engine.calibrated_bundle import publish_calibrated
from guidealign_engine.encoder_files import read_encoder_files
from guidealign_engine.errors import ArtifactError
from guidealign_engine.loading import load_engine
from guidealign_engine.offline.retriever.all_material import AllMaterial
from guidealign_engine.offline.retriever.build_all_config import TRAIN, BuildAllConfig
from guidealign_engine.offline.retriever.dev_quality import dev_quality
from guidealign_engine.offline.retriever.encoder_steps import student_step, teacher_digest, teacher_step
from guidealign_engine.offline.retriever.step_folders import Report, Step
from guidealign_engine.offline.retriever.teacher_embedder import TeacherEmbedder
from guidealign_engine.pairs import train_inputs
from guidealign_engine.verification import verify_bundle

BUNDLE = "bundle"


def plan_all(material: AllMaterial, work: Path, config: BuildAllConfig) -> list[Step]:
    """The steps in their order, each with what it depends on; nothing is run."""
    steps = list[Step]()
    teacher, made_by = config.teacher, {"teacher": teacher_digest(config.teacher)}
    if config.teacher == TRAIN:
        steps.append(teacher_step(material, config))
        teacher, made_by = str(work / "teacher"), {"teacher": steps[-1].fingerprint}
    elif Path(teacher).exists():
        teacher = str(Path(teacher).resolve())
    steps.append(student_step(material, config, teacher, made_by, work))
    steps.append(_bundle_step(material, config, steps[-1], work))
    steps.append(_calibrate_step(material, config, steps[-1], work))
    calibrated = work / "calibrate" / BUNDLE
    steps.append(
        Step(
            name="verify",
            inputs={"calibrate": steps[-1].fingerprint},
            run=lambda folder, report: {"checks": list(verify_bundle(calibrated))},
        )
    )
    steps.append(
        Step(
            name="quality",
            inputs={"dev pairs": material.digests["dev pairs"], "verify": steps[-1].fingerprint},
            run=lambda folder, report: dev_quality(load_engine(calibrated), material.dev),
        )
    )
    return steps


def _bundle_step(material: AllMaterial, config: BuildAllConfig, student: Step, work: Path) -> Step:
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
            library_embedder=TeacherEmbedder(files.info.teacher, files.projection),
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
    return Step(name="bundle", inputs={**digests, **options, "student": student.fingerprint}, run=run)


def _calibrate_step(material: AllMaterial, config: BuildAllConfig, bundle: Step, work: Path) -> Step:
    def run(folder: Path, report: Report) -> Mapping[str, Any]:
        found = publish_calibrated(
            work / bundle.name / BUNDLE, folder / BUNDLE, material.dev, false_alarms=config.false_alarms
        )
        return found.as_dict()

    inputs = {"dev pairs": material.digests["dev pairs"], "false alarms": config.false_alarms}
    return Step(name="calibrate", inputs={**inputs, "bundle": bundle.fingerprint}, run=run)

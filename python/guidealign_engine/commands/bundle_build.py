"""What `guidealign bundle build` does: read, embed, index, calibrate, publish."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from guidealign_engine.building import Report, StudentEmbedder, TextEmbedder, build_bundle
from guidealign_engine.bundle import check_replaceable
from guidealign_engine.calibrated_bundle import publish_calibrated
from guidealign_engine.calibration import FALSE_ALARMS
from guidealign_engine.config import Kind, choose
from guidealign_engine.encoder_files import EncoderFiles, read_encoder_files
from guidealign_engine.errors import ArtifactError, ConfigError, MissingDependencyError
from guidealign_engine.guideline_files import read_guidelines
from guidealign_engine.held_out_pairs import read_dev_pairs
from guidealign_engine.index_queries import read_queries
from guidealign_engine.index_tuning import RECALL_TARGET
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.loading import STARTER_BUNDLE
from guidealign_engine.pairs import Pair, read_pairs, train_inputs

_VECTORS = ("student", "teacher")


def build(
    guidelines: Sequence[Path],
    out: Path,
    *,
    vectors: str | None,
    encoder: Path | None,
    index: str | None,
    store: str,
    examples: str = "folded",
    fold: Sequence[Path] = (),
    default_kind: str | None,
    name: str,
    pairs: Sequence[Path],
    false_alarms: float = FALSE_ALARMS,
    queries: Sequence[Path] = (),
    recall: float = RECALL_TARGET,
    report: Report,
) -> None:
    """Publishes a bundle in `out` when all is done; until then, and after an error, what was there stays there."""
    if vectors not in (None, *_VECTORS):
        raise ConfigError(f"--vectors is {vectors!r}; allowed: {', '.join(_VECTORS)}")
    # Known before the minutes of work that would be lost.
    check_replaceable(out)
    records = _records(guidelines, default_kind)
    inputs = _inputs(fold, records)
    labelled = read_dev_pairs(pairs, {record.id for record in records}) if pairs else []
    asked = read_queries(queries) if queries else []
    source = STARTER_BUNDLE if encoder is None else encoder
    files = read_encoder_files(source)
    student = StudentEmbedder.from_files(files, source)
    embedder = _embedder(vectors, files, student, report)

    def publish(folder: Path) -> None:
        build_bundle(
            records,
            folder,
            name=name,
            created_by=f"guidealign-engine {version('guidealign-engine')}",
            encoder_files=files,
            student=student,
            library_embedder=embedder,
            index_kind=index,
            store=store,
            examples=examples,
            inputs=inputs,
            queries=asked,
            recall=recall,
            report=report,
        )

    if not pairs:
        publish(out)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        uncalibrated = Path(scratch) / "bundle"
        publish(uncalibrated)
        _publish_calibrated(uncalibrated, out, labelled, false_alarms, report)


def _records(guidelines: Sequence[Path], default_kind: str | None) -> list[GuidelineRecord]:
    kind = None if default_kind is None else choose(Kind, default_kind, "--default-kind")
    try:
        return read_guidelines(guidelines, default_kind=kind)
    except ArtifactError as error:
        if error.field == "kind" and str(error).endswith("the field is missing"):
            raise ConfigError(f"{error}; --default-kind safety or quality gives one to all without it") from error
        raise


def _inputs(paths: Sequence[Path], records: Sequence[GuidelineRecord]) -> dict[str, list[str]]:
    inputs = train_inputs(read_pairs(paths))
    unknown = sorted(inputs.keys() - {record.id for record in records})
    if unknown:
        raise ConfigError(
            f"--fold: pairs name {len(unknown)} guidelines that the library lacks, such as {', '.join(unknown[:3])}; "
            "give the pairs that belong to this library"
        )
    return inputs


def _embedder(vectors: str | None, files: EncoderFiles, student: StudentEmbedder, report: Report) -> TextEmbedder:
    """Whom `--vectors` names; without it the teacher, or the student where the teacher cannot run."""
    if vectors == "student":
        return student
    try:
        return _teacher(files)
    except (MissingDependencyError, ConfigError) as error:
        if vectors is not None:
            raise
        report(f"no teacher ({error}), so the student embeds the library")
        return student


def _teacher(files: EncoderFiles) -> TextEmbedder:
    if files.projection is None or files.info.teacher is None:
        raise ConfigError("the encoder was made without a teacher's projection; use --vectors student")
    for module, package in (("torch", "torch"), ("sentence_transformers", "sentence-transformers")):
        if find_spec(module) is None:
            raise MissingDependencyError(f"embedding by the teacher needs {module}", package=package, extra="offline")
    from guidealign_engine.offline.retriever.teacher_embedder import TeacherEmbedder

    return TeacherEmbedder(files.info.teacher, files.projection)


def _publish_calibrated(
    uncalibrated: Path, out: Path, pairs: Sequence[Pair], false_alarms: float, report: Report
) -> None:
    report(f"thresholds from {len(pairs)} pairs")
    found = publish_calibrated(uncalibrated, out, pairs, false_alarms=false_alarms)
    report(", ".join(f"{name} {value}" for name, value in asdict(found.thresholds).items()))
    report(", ".join(f"{name} {share:.1%}" for name, share in found.quality.items()))

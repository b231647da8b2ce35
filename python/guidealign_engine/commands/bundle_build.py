"""What `guidealign bundle build` does: read, embed, index, calibrate, publish."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from guidealign_engine.building import Report, StudentEmbedder, TextEmbedder, build_bundle
from guidealign_engine.bundle import ENCODER, MANIFEST, TOKENIZER, open_bundle, publish_bundle
from guidealign_engine.calibration import FALSE_ALARMS, calibrate, calibrated
from guidealign_engine.config import Kind, choose
from guidealign_engine.encoder import OnnxEncoder
from guidealign_engine.encoder_files import EncoderFiles, read_encoder_files
from guidealign_engine.errors import ArtifactError, ConfigError, MissingDependencyError
from guidealign_engine.guideline_files import read_guidelines
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.loading import STARTER_BUNDLE, load_engine
from guidealign_engine.pairs import Pair, read_pairs
from guidealign_engine.tokenizer import QueryTokenizer

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
    default_kind: str | None,
    name: str,
    pairs: Sequence[Path],
    false_alarms: float = FALSE_ALARMS,
    report: Report,
) -> None:
    """Publishes a bundle in `out` when all is done; until then, and after an error, what was there stays there."""
    if vectors not in (None, *_VECTORS):
        raise ConfigError(f"--vectors is {vectors!r}; allowed: {', '.join(_VECTORS)}")
    # Known before the minutes of work that would be lost.
    _check_replaceable(out)
    records = _records(guidelines, default_kind)
    labelled = read_pairs(pairs, split="dev")
    source = STARTER_BUNDLE if encoder is None else encoder
    files = read_encoder_files(source)
    student = _student(files, source)
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


def _check_replaceable(out: Path) -> None:
    if out.is_dir() and not (out / MANIFEST).is_file() and any(out.iterdir()):
        raise ArtifactError("the folder exists and is no bundle; give another one", file=out)
    if out.exists() and not out.is_dir():
        raise ArtifactError("this is a file; give a folder", file=out)


def _student(files: EncoderFiles, source: Path) -> StudentEmbedder:
    try:
        tokenizer = QueryTokenizer(files.tokenizer.decode(), max_tokens=files.info.max_tokens)
    except Exception as error:  # tokenizers raises bare Exception
        raise ArtifactError(f"this is no tokenizer definition: {error}", file=source / TOKENIZER) from error
    if tokenizer.vocabulary != files.info.vocabulary:
        raise ArtifactError(
            f"the tokenizer has {tokenizer.vocabulary} tokens, the encoder {files.info.vocabulary}; "
            "they do not belong together",
            file=source / TOKENIZER,
        )
    return StudentEmbedder(
        tokenizer, OnnxEncoder(files.model, dimension=files.info.dimension, threads=1, source=source / ENCODER)
    )


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
    found = calibrate(load_engine(uncalibrated), pairs, false_alarms=false_alarms)
    report(", ".join(f"{name} {value}" for name, value in asdict(found.thresholds).items()))
    report(", ".join(f"{name} {share:.1%}" for name, share in found.quality.items()))
    bundle = open_bundle(uncalibrated)
    parts = {part: bundle.read(part) for part in bundle.manifest.parts}
    publish_bundle(out, calibrated(bundle.manifest, found), parts)

"""Opens the systems that can run here, and says of the others why they cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.building import StudentEmbedder
from guidealign_engine.bundle import VECTORS, open_bundle
from guidealign_engine.encoder_files import EncoderFiles, read_encoder_files
from guidealign_engine.errors import ArtifactError, ConfigError, GuidealignError, MissingDependencyError
from guidealign_engine.offline.evaluation.systems import Bm25, Embed, EndToEnd, System, VectorSystem

BASE = "all-MiniLM-L6-v2"
TEACHER = "teacher"
FLOAT32 = "student float32"
INT8 = "student int8"
ENGINE = "engine"

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Systems:
    """What can run, what cannot, and what turns text into vectors for whoever measures its time."""

    ready: Sequence[System]
    not_run: Mapping[str, str]
    """name → reason"""
    encoders: Mapping[str, Embed]
    """name → text to vectors, on one thread where the caller sees to torch's"""
    engine: EndToEnd | None


@dataclass(frozen=True, slots=True)
class SystemFiles:
    """Where systems come from."""

    bundle: Path
    encoders: Mapping[str, Path]
    """name → a folder of `build student`, a bundle, or an ONNX file for the bundle's own tokenizer"""
    cache: Path
    """Teacher vectors are kept here."""
    scratch: Path
    """For bundles that are built to be measured"""


def open_systems(files: SystemFiles, report: Report) -> Systems:
    """Raises ArtifactError for a bundle or a given encoder that cannot be read; what is merely missing is not run."""
    opening = _Opening(files, report)
    opening.attempt("BM25", lambda: opening.ready.append(Bm25()))
    opening.attempt(BASE, partial(opening.add_sentence_encoder, BASE, BASE))
    opening.add_student_side()
    return Systems(opening.ready, opening.not_run, opening.encoders, opening.engine)


class _Opening:
    def __init__(self, files: SystemFiles, report: Report) -> None:
        self.ready: list[System] = []
        self.not_run: dict[str, str] = {}
        self.encoders: dict[str, Embed] = {}
        self.engine: EndToEnd | None = None
        self._files = files
        self._report = report
        self._bundle = read_encoder_files(files.bundle)
        self._sentence_encoders: dict[str, _SentenceEncoder] = {}

    def attempt(self, name: str, add: Callable[[], None]) -> None:
        """Whatever keeps a system from running is told beside the figures of the others."""
        try:
            add()
        except (GuidealignError, ImportError, OSError, ValueError) as error:
            self.not_run[name] = " ".join(str(error).split())[:300]
            self._report(f"{name} is not run: {self.not_run[name]}")

    def add_sentence_encoder(self, name: str, model: str) -> None:
        encoder = self._sentence_encoder(model)
        self.encoders[name] = encoder.embed_now
        self.ready.append(VectorSystem(name, encoder.embed, encoder.embed))

    def add_student_side(self) -> None:
        teacher = self._bundle.info.teacher
        if teacher is None:
            self.not_run[TEACHER] = "the bundle names no teacher"
        else:
            self.attempt(TEACHER, partial(self.add_sentence_encoder, TEACHER, teacher))
        given = {f"student {name}": path for name, path in self._files.encoders.items()}
        for name, path in given.items():
            files, folder = self._read_encoder(path), path if path.is_dir() else path.parent
            self.attempt(name, partial(self._add_student, name, files, folder))
        if FLOAT32 not in given:
            self.not_run[FLOAT32] = "a bundle holds no float32 table; give one with --encoder float32=FOLDER"
        self.attempt(INT8, partial(self._add_student, INT8, self._bundle, self._files.bundle))
        self.attempt(ENGINE, self._add_engine)

    def _add_student(self, name: str, files: EncoderFiles, source: Path) -> None:
        student = StudentEmbedder.from_files(files, source)
        self.encoders[name] = _embed_by(student)
        self.ready.append(VectorSystem(name, self.encoders[name], self._library_side(files, student)))

    def _add_engine(self) -> None:
        student = StudentEmbedder.from_files(self._bundle, self._files.bundle)
        store = str(open_bundle(self._files.bundle).arrays(VECTORS)["vectors"].dtype)
        try:
            library_side = self._library_side(self._bundle, student)
        except (GuidealignError, ImportError, OSError) as error:
            # The bundle's own library needs no teacher any more.
            library_side = _refusing(error)
        self.engine = EndToEnd(self._bundle, student, library_side, store, self._files.scratch, ENGINE)
        self.ready.append(self.engine)

    def _library_side(self, files: EncoderFiles, student: StudentEmbedder) -> Embed:
        """As a bundle's library is embedded: by the teacher in the student's space, or by the student without one."""
        if files.info.teacher is None or files.projection is None:
            return _embed_by(student)
        from safetensors.numpy import load

        teacher = self._sentence_encoder(files.info.teacher)
        from guidealign_engine.offline.retriever.teacher import Projection

        projection = Projection(load(files.projection)["projection"].astype(np.float32))
        return lambda texts: projection.apply(teacher.embed(texts))

    def _sentence_encoder(self, model: str) -> _SentenceEncoder:
        if model in self._sentence_encoders:
            return self._sentence_encoders[model]
        for module in ("torch", "sentence_transformers"):
            if find_spec(module) is None:
                package = module.replace("_", "-")
                raise MissingDependencyError(f"{model!r} needs {module}", package=package, extra="offline")
        from guidealign_engine.offline.retriever.teacher import Teacher
        from guidealign_engine.offline.retriever.teacher_vectors import teacher_vectors
        from guidealign_engine.offline.retriever.training_device import CPU

        self._report(f"  loading {model}")
        # All encoders are timed on one page, and the others run on the CPU.
        teacher = Teacher(model, device=CPU)

        def embed(texts: Sequence[str]) -> NDArray[np.float32]:
            return teacher_vectors(
                teacher,
                texts,
                self._files.cache,
                progress=lambda done, all_: self._report(f"  {model}: {done} of {all_} vectors"),
            )

        self._sentence_encoders[model] = _SentenceEncoder(embed, teacher.embed)
        return self._sentence_encoders[model]

    def _read_encoder(self, path: Path) -> EncoderFiles:
        if path.is_dir():
            return read_encoder_files(path)
        try:
            return replace(self._bundle, model=path.read_bytes())
        except OSError as error:
            raise ArtifactError(
                f"the encoder cannot be read: {error.strerror}; give a folder of build student or an ONNX file",
                file=path,
            ) from error


@dataclass(frozen=True, slots=True)
class _SentenceEncoder:
    embed: Embed
    """By what is kept of an earlier run, if anything is."""
    embed_now: Embed


def _embed_by(student: StudentEmbedder) -> Embed:
    return lambda texts: student.embed_texts(texts, lambda line: None)


def _refusing(reason: Exception) -> Embed:
    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        raise ConfigError(f"the library cannot be embedded: {reason}") from reason

    return embed

"""From unlabelled texts to a student encoder: vocabulary, teacher vectors, distillation, export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from guidealign_engine.building import folded
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.offline.export.parity import PARITY_TEXTS, texts_with_tokens
from guidealign_engine.offline.export.sentence_model import QUERY_TOKENS
from guidealign_engine.offline.retriever.bigrams import choose_bigrams
from guidealign_engine.offline.retriever.build_static import build_static
from guidealign_engine.offline.retriever.build_transformer import build_transformer
from guidealign_engine.offline.retriever.kept_vocabulary import kept_vocabulary
from guidealign_engine.offline.retriever.salience import fit_salience
from guidealign_engine.offline.retriever.static_student import (
    DevInputs,
    DistilConfig,
    LibraryTargets,
    initial_table,
)
from guidealign_engine.offline.retriever.student_files import StudentFiles
from guidealign_engine.offline.retriever.student_task import StudentTask
from guidealign_engine.offline.retriever.teacher import DEFAULT_TEACHER, Projection, Teacher
from guidealign_engine.offline.retriever.teacher_config import TrainingInput
from guidealign_engine.offline.retriever.teacher_vectors import teacher_vectors
from guidealign_engine.offline.retriever.training_device import CPU, described
from guidealign_engine.offline.retriever.transformer_config import TransformerConfig
from guidealign_engine.token_extras import TokenExtras
from guidealign_engine.tokenizer import QueryTokenizer

Report = Callable[[str], None]

_LABELLED_WEIGHT = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentConfig:
    teacher: str = DEFAULT_TEACHER
    dimension: int = 256
    vocabulary: int = 30_000
    bigrams: int = 25_000
    """At most, of a static student; a transformer knows order without."""
    distil: DistilConfig = field(default_factory=DistilConfig)
    transformer: TransformerConfig | None = None
    """None makes a static student."""


@dataclass(frozen=True, slots=True)
class StudentMaterial:
    """Unlabelled texts, and the library with its training inputs; either of the latter may be empty."""

    texts: Sequence[str]
    records: Sequence[GuidelineRecord] = ()
    inputs: Sequence[TrainingInput] = ()
    dev: DevInputs | None = None
    """What the best epoch of a static student is chosen by."""
    passages: Sequence[str] = ()
    """Texts that ask for nothing, from which requests are told apart in long prompts."""

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
    device: torch.device = CPU,
) -> None:
    """Distils a student and writes its files. Vocabulary and teacher vectors are kept in `cache`.

    A transformer is kept in the student's folder after each epoch, as a checkpoint that a killed run goes on from; its
    files are in its precision, and those in float32 in the folder float32 below.
    """
    files.check_free()
    texts = material.all_texts
    report(f"student of {config.teacher}, trained on {described(device)}")
    teacher = Teacher(config.teacher, device=device)
    report(f"vocabulary of {config.vocabulary} from {len(vocabulary_texts)} texts")
    tokenizer = kept_vocabulary(vocabulary_texts, config.vocabulary, cache)

    report(f"teacher vectors of {len(texts)} texts")
    vectors = teacher_vectors(teacher, texts, cache, progress=lambda done, all_: report(f"  {done} of {all_}"))
    projection = Projection.fit(vectors, config.dimension)
    targets = projection.apply(vectors)
    library = _library_targets(material, targets) if material.inputs else None
    extras = _token_extras(material, tokenizer.to_str(), 0 if config.transformer else config.bigrams, report)
    reader = QueryTokenizer(tokenizer.to_str(), max_tokens=QUERY_TOKENS, extras=extras)
    report("first token table")
    table = initial_table(
        tokenizer, lambda tokens: projection.apply(teacher_vectors(teacher, tokens, cache)), len(extras.bigrams)
    )
    task = StudentTask(
        tokenizer=tokenizer,
        reader=reader,
        extras=extras,
        texts=texts,
        projection=projection,
        targets=targets,
        table=table,
        library=library,
        dev=material.dev,
        sample=texts_with_tokens(texts[:PARITY_TEXTS], reader),
        device=device,
        report=report,
    )
    record = {
        "teacher": config.teacher,
        "dimension": config.dimension,
        "vocabulary": tokenizer.get_vocab_size(),
        "bigrams": len(extras.bigrams),
        "texts": len(texts),
        "guidelines": len(material.records),
        "labelled_inputs": len(material.inputs),
        "device": described(device),
    }
    if config.transformer is None:
        build_static(task, files, config.distil, record)
    else:
        held_out = min(config.transformer.held_out, config.distil.held_out)
        build_transformer(task, files, replace(config.transformer, held_out=held_out), record)


def _token_extras(material: StudentMaterial, tokenizer: str, bigrams: int, report: Report) -> TokenExtras:
    """Bigrams of all texts, labelled inputs counting five times, and salience where there are passages."""
    texts = material.all_texts
    plain = QueryTokenizer(tokenizer, max_tokens=QUERY_TOKENS)
    weights = np.ones(len(texts))
    weights[len(material.records) : len(material.records) + len(material.inputs)] = _LABELLED_WEIGHT
    pairs = choose_bigrams(plain.encode(texts), plain.vocabulary, bigrams, weights)
    report(f"{len(pairs)} bigrams of {len(texts)} texts")
    if not material.passages or not material.inputs:
        return TokenExtras(pairs)
    report(f"salience from {len(material.inputs)} requests and {len(material.passages)} passages")
    reader = QueryTokenizer(tokenizer, max_tokens=QUERY_TOKENS, extras=TokenExtras(pairs))
    requests = [each.text for each in material.inputs]
    return TokenExtras(pairs, fit_salience(reader, plain.vocabulary + len(pairs), requests, material.passages))


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

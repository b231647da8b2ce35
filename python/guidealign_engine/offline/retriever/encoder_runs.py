"""What `build teacher` and `build student` do with what was read; `build all` does the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from guidealign_engine.library import GuidelineRecord
from guidealign_engine.offline.retriever.build_student import StudentConfig, StudentMaterial, build_student
from guidealign_engine.offline.retriever.build_teacher import BuildTeacherConfig, build_teacher
from guidealign_engine.offline.retriever.material import dev_inputs, teacher_material, training_pairs
from guidealign_engine.offline.retriever.student_files import StudentFiles
from guidealign_engine.offline.retriever.texts import sample_texts
from guidealign_engine.offline.retriever.training_device import CPU, enough_memory
from guidealign_engine.pairs import Pair

Report = Callable[[str], None]

_HELD_OUT_SHARE = 10
_MOST_PASSAGES = 30_000


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
    device: torch.device = CPU,
) -> None:
    """Trains a teacher on the guidelines, the pairs, and `limit` texts and harmless ones that are drawn.

    Raises what `build_teacher` raises, and DeviceError when the device's memory does not hold a step.
    """
    drawn = sample_texts(texts, limit, seed=0)
    material = teacher_material(records, pairs, drawn, sample_texts(harmless, limit, seed=1))
    with enough_memory(device):
        build_teacher(material, out, config, report, device)


def run_student(
    records: Sequence[GuidelineRecord],
    pairs: Sequence[Pair],
    texts: Iterable[str],
    passages: Iterable[str] = (),
    *,
    limit: int,
    out: Path,
    cache: Path,
    config: StudentConfig,
    report: Report,
    device: torch.device = CPU,
) -> None:
    """Learns a vocabulary from all texts, and distils a student on `limit` of them, the guidelines and the pairs.

    passages: texts that ask for nothing; with them it learns to find the request in a long prompt.

    Raises what `build_student` raises, and DeviceError when the device's memory does not hold a step.
    """
    pool = list(texts)
    inputs, harmless = training_pairs(records, pairs)
    material = StudentMaterial(
        texts=[*sample_texts(pool, limit, seed=0), *harmless],
        records=records,
        inputs=inputs,
        dev=dev_inputs(records, pairs),
        passages=sample_texts(passages, _MOST_PASSAGES, seed=2),
    )
    # A tenth of few texts is enough to see which epoch was best.
    held_out = min(config.distil.held_out, max(1, len(material.texts) // _HELD_OUT_SHARE))
    fitting = replace(config, distil=replace(config.distil, held_out=held_out))
    with enough_memory(device):
        build_student(material, pool, StudentFiles(out), cache, fitting, report, device)

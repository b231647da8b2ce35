"""What a teacher sees in each step of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from guidealign_engine.offline.retriever.teacher_config import TeacherConfig, TeacherMaterial, TrainingInput

_BUCKET = 20
"""Batches' worth of inputs that are sorted by length together."""


@dataclass(frozen=True, slots=True)
class TeacherStep:
    rows: list[int]
    """Of the inputs in the material."""
    inputs: list[TrainingInput]
    harmless: list[str]
    texts: list[str]


def steps_in_epoch(material: TeacherMaterial, config: TeacherConfig) -> int:
    return len(material.inputs) // config.batch_size


def epoch_steps(material: TeacherMaterial, config: TeacherConfig, rng: np.random.Generator) -> Iterator[TeacherStep]:
    """Batches of inputs of like length, in a random order, each with harmless inputs and unlabelled texts."""
    size, inputs = config.batch_size, material.inputs
    order = rng.permutation(len(inputs))
    batches = []
    for start in range(0, len(order), size * _BUCKET):
        window = sorted(order[start : start + size * _BUCKET], key=lambda row: len(inputs[row].text))
        batches += [window[begin : begin + size] for begin in range(0, len(window), size)]
    whole = [batch for batch in batches if len(batch) == size]
    half = config.texts_per_step // 2
    for place in rng.permutation(len(whole))[: steps_in_epoch(material, config)]:
        harmless, texts = (
            [pool[row] for row in rng.integers(len(pool), size=half)] if pool else []
            for pool in (material.harmless, material.texts)
        )
        yield TeacherStep([int(row) for row in whole[place]], [inputs[row] for row in whole[place]], harmless, texts)

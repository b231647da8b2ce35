"""From guidelines, pairs and texts to a tuned teacher's folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer

from guidealign_engine.errors import ConfigError
from guidealign_engine.offline.retriever.checkpoints import CHECKPOINT
from guidealign_engine.offline.retriever.teacher import DEFAULT_TEACHER, find_teacher
from guidealign_engine.offline.retriever.teacher_config import TeacherConfig, TeacherMaterial
from guidealign_engine.offline.retriever.train_teacher import TeacherTrainer
from guidealign_engine.offline.retriever.training_device import CPU, described
from guidealign_engine.offline.retriever.tuned_teacher import TunedTeacher


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildTeacherConfig:
    base: str = DEFAULT_TEACHER
    rank: int = 64
    """Directions that are kept of what a weight matrix changed by."""
    training: TeacherConfig = field(default_factory=TeacherConfig)


def build_teacher(
    material: TeacherMaterial,
    out: Path,
    config: BuildTeacherConfig,
    report: Callable[[str], None],
    device: torch.device = CPU,
) -> None:
    """Trains, keeping a checkpoint in `out` after each epoch, and writes the tuned teacher there when all is done."""
    teacher = TunedTeacher(out)
    if teacher.exists:
        raise ConfigError(f"{out} holds a teacher already; give another folder")
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / CHECKPOINT
    report(
        f"teacher from {config.base}, {config.training.batch_size} inputs a step, in bfloat16 on {described(device)}"
    )
    trainer = TeacherTrainer(config.base, material, config.training, report, device)
    history = trainer.train(checkpoint)
    teacher.write(
        SentenceTransformer(find_teacher(config.base), device="cpu").state_dict(),
        trainer.model.state_dict(),
        {
            "base": config.base,
            "rank": config.rank,
            "guidelines": len(material.entries),
            "inputs": len(material.inputs),
            "harmless": len(set(material.harmless)),
            "texts": len(material.texts),
            "device": described(device),
            "training": asdict(config.training),
            "losses": [{name: round(value, 5) for name, value in epoch.items()} for epoch in history],
        },
        rank=config.rank,
    )
    checkpoint.unlink()

"""Fine-tunes a sentence encoder on inputs and their guidelines, without letting it unlearn other text."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import batch_to_device
from torch import nn

from guidealign_engine.config import QueryConfig
from guidealign_engine.errors import ConfigError
from guidealign_engine.offline.retriever.checkpoints import load_checkpoint, save_checkpoint
from guidealign_engine.offline.retriever.prototypes import Prototypes
from guidealign_engine.offline.retriever.teacher import find_teacher
from guidealign_engine.offline.retriever.teacher_config import TeacherConfig, TeacherMaterial
from guidealign_engine.offline.retriever.teacher_losses import (
    Targets,
    anchor_loss,
    contrast_loss,
    near_copies,
    risk_loss,
)
from guidealign_engine.offline.retriever.teacher_schedule import optimisation
from guidealign_engine.offline.retriever.teacher_steps import TeacherStep, epoch_steps, steps_in_epoch
from guidealign_engine.offline.retriever.training_device import CPU
from guidealign_engine.query import query_texts

Report = Callable[[str], None]

_REPORT_STEPS = 25


class TeacherTrainer:
    """The model, its untrained twin, and the loop; `checkpoint` is written after every epoch and resumed from."""

    def __init__(
        self, base: str, material: TeacherMaterial, config: TeacherConfig, report: Report, device: torch.device = CPU
    ) -> None:
        """Raises ConfigError when there are fewer inputs than a batch."""
        torch.manual_seed(config.seed)
        self._material = material
        self._config = config
        self._report = report
        self._device = device
        # What a checkpoint is for: nothing else may go on from it.
        self._task = hashlib.sha256(repr((base, asdict(config), asdict(material))).encode()).hexdigest()
        # Made on the CPU, so that a training begins with the same weights wherever it runs.
        self.model = SentenceTransformer(find_teacher(base), device="cpu").to(device)
        self._untrained = SentenceTransformer(find_teacher(base), device="cpu").requires_grad_(False).eval().to(device)
        dimension = self.model.get_embedding_dimension()
        assert dimension is not None
        self.risk = nn.Linear(dimension, 1).to(device)
        # Few inputs hold few words: a token's own vector is better left alone.
        self.model[0].auto_model.embeddings.requires_grad_(False)
        self._steps = steps_in_epoch(material, config)
        if not self._steps:
            raise ConfigError(
                f"{len(material.inputs)} training inputs are fewer than a batch of {config.batch_size}; "
                "give more pairs or a smaller batch"
            )
        self._optimiser, self._schedule = optimisation(self.model, self.risk, config, config.epochs * self._steps)
        self._bank = torch.zeros(0)
        self._near_copies = near_copies(material.entries)
        self._prototypes = Prototypes(
            [each.guidelines for each in material.inputs], len(material.entries), dimension, device
        )

    def train(self, checkpoint: Path) -> list[Mapping[str, float]]:
        """Trains to the end, from the last finished epoch on; mean losses by epoch."""
        history = self._resume(checkpoint)
        for epoch in range(len(history), self._config.epochs):
            history.append(self._train_epoch(epoch))
            shown = ", ".join(f"{name} {value:.4f}" for name, value in history[-1].items())
            self._report(f"epoch {epoch + 1} of {self._config.epochs}: {shown}")
            self._save(checkpoint, history)
        return history

    def _train_epoch(self, epoch: int) -> Mapping[str, float]:
        totals = np.zeros(3)
        started = time.monotonic()
        # Seeded by the epoch, so that a resumed run sees what an unbroken one would have seen.
        rng = np.random.default_rng([self._config.seed, epoch])
        torch.manual_seed(self._config.seed + epoch)
        for number, step in enumerate(epoch_steps(self._material, self._config, rng)):
            if number % self._config.bank_steps == 0:
                self._bank = self._embed_all(self._material.entries)
            losses = self._losses(step, rng)
            weights = (1.0, self._config.risk_weight, self._config.anchor_weight)
            loss = torch.stack([weight * part for weight, part in zip(weights, losses, strict=True)]).sum()
            if not torch.isfinite(loss):
                raise ConfigError(f"the loss is {loss.item()} in epoch {epoch + 1}; lower the learning rate")
            self._optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self._optimiser.step()
            self._schedule.step()
            totals += [float(part.detach()) for part in losses]
            if (number + 1) % _REPORT_STEPS == 0:
                rate = (time.monotonic() - started) / (number + 1)
                left = rate * (self._steps * (self._config.epochs - epoch) - number - 1)
                self._report(f"  step {number + 1} of {self._steps}, {left / 60:.0f} min left")
        return dict(zip(("contrast", "risk", "anchor"), (totals / self._steps).tolist(), strict=True))

    def _losses(self, step: TeacherStep, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        config = self._config
        self.model.train()
        queries = self._embed([each.text for each in step.inputs], config.query_tokens)
        unlabelled = [*step.texts, *step.harmless]
        texts = self._embed(unlabelled, config.text_tokens) if unlabelled else queries[:0]
        targets = Targets.of(step.inputs, self._near_copies, config.guidelines_per_step, rng, self._device)
        guidelines = self._embed([self._material.entries[row] for row in targets.encoded], config.query_tokens)
        contrast = contrast_loss(queries, guidelines, self._bank, targets, step.rows, self._prototypes, config)
        risk = risk_loss(self.risk, torch.cat([queries, texts[len(step.texts) :]]), step)
        return contrast, risk, self._anchor_loss(texts, unlabelled)

    def _anchor_loss(self, vectors: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        if not texts:
            return vectors.new_zeros(())
        with torch.no_grad():
            before = self._embed(texts, self._config.text_tokens, model=self._untrained)
        return anchor_loss(vectors, before, self._config.similarity_weight)

    def _embed(
        self, texts: Sequence[str], max_tokens: int, *, model: SentenceTransformer | None = None
    ) -> torch.Tensor:
        model = self.model if model is None else model
        model.max_seq_length = max_tokens
        features = batch_to_device(model.preprocess(query_texts(list(texts), QueryConfig())), self._device)
        with torch.autocast(self._device.type, torch.bfloat16):
            vectors = model(features)["sentence_embedding"]
        return nn.functional.normalize(vectors.float(), dim=1)

    def _embed_all(self, texts: Sequence[str]) -> torch.Tensor:
        self.model.eval()
        size = self._config.batch_size
        with torch.no_grad():
            starts = range(0, len(texts), size)
            return torch.cat([self._embed(texts[at : at + size], self._config.query_tokens) for at in starts])

    def _save(self, checkpoint: Path, history: Sequence[Mapping[str, float]]) -> None:
        state = {
            "task": self._task,
            "history": list(history),
            "model": self.model.state_dict(),
            "risk": self.risk.state_dict(),
            "prototypes": self._prototypes.state(),
            "optimiser": self._optimiser.state_dict(),
            "schedule": self._schedule.state_dict(),
        }
        save_checkpoint(checkpoint, state)

    def _resume(self, checkpoint: Path) -> list[Mapping[str, float]]:
        kept = load_checkpoint(checkpoint, task=self._task, depends_on="on other guidelines, pairs or texts")
        if kept is None:
            return []
        self.model.load_state_dict(kept["model"])
        self.risk.load_state_dict(kept["risk"])
        self._prototypes.resume(kept["prototypes"])
        self._optimiser.load_state_dict(kept["optimiser"])
        self._schedule.load_state_dict(kept["schedule"])
        self._report(f"going on after epoch {len(kept['history'])}")
        history: list[Mapping[str, float]] = kept["history"]
        return history

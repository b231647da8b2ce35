"""Fine-tunes a sentence encoder on inputs and their guidelines, without letting it unlearn other text."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from guidealign_engine.config import QueryConfig
from guidealign_engine.errors import ConfigError
from guidealign_engine.offline.retriever.teacher import find_teacher
from guidealign_engine.query import query_texts

Report = Callable[[str], None]

_BUCKET = 20
_WARM_UP = 0.1
_REPORT_STEPS = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherConfig:
    """How the teacher is trained.

    Every guideline of the library is a negative in every step: their vectors are kept in a bank that is encoded anew
    each `bank_steps`, and `guidelines_per_step` of the positives are encoded with a gradient (cross-batch memory, Wang
    et al., 2020). `anchor_weight` holds vectors and similarities of unlabelled texts to those of the untrained model.
    `risk_weight` weighs a logistic regression, on the vector, of whether an input needs a safety guideline.
    """

    epochs: int = 3
    batch_size: int = 64
    guidelines_per_step: int = 16
    texts_per_step: int = 24
    bank_steps: int = 60
    learning_rate: float = 2e-4
    risk_learning_rate: float = 2e-2
    temperature: float = 0.05
    guideline_weight: float = 0.3
    risk_weight: float = 0.5
    anchor_weight: float = 1.0
    similarity_weight: float = 10.0
    query_tokens: int = 96
    text_tokens: int = 48
    seed: int = 13


@dataclass(frozen=True, slots=True)
class TrainingInput:
    """An input, the positions of the guidelines that fit it, and whether one of them is a safety guideline."""

    text: str
    guidelines: tuple[int, ...]
    needs_safety: bool


@dataclass(frozen=True, slots=True)
class TeacherMaterial:
    """What a teacher is trained on: guidelines' entries, inputs with guidelines, inputs without, unlabelled texts."""

    entries: Sequence[str]
    inputs: Sequence[TrainingInput]
    harmless: Sequence[str]
    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Step:
    inputs: list[TrainingInput]
    harmless: list[str]
    texts: list[str]


class TeacherTrainer:
    """The model, its untrained twin, and the loop; `checkpoint` is written after every epoch and resumed from."""

    def __init__(self, base: str, material: TeacherMaterial, config: TeacherConfig, report: Report) -> None:
        torch.manual_seed(config.seed)
        self._material = material
        self._config = config
        self._report = report
        # What a checkpoint is for: nothing else may go on from it.
        self._task = hashlib.sha256(repr((base, asdict(config), asdict(material))).encode()).hexdigest()
        self.model = SentenceTransformer(find_teacher(base), device="cpu")
        self._untrained = SentenceTransformer(find_teacher(base), device="cpu").requires_grad_(False).eval()
        dimension = self.model.get_embedding_dimension()
        assert dimension is not None
        self.risk = nn.Linear(dimension, 1)
        # Few inputs hold few words: a token's own vector is better left alone.
        self.model[0].auto_model.embeddings.requires_grad_(False)
        trained = [weights for weights in self.model.parameters() if weights.requires_grad]
        self._optimiser = torch.optim.AdamW(
            [
                {"params": trained, "lr": config.learning_rate, "weight_decay": 0.01},
                {"params": self.risk.parameters(), "lr": config.risk_learning_rate},
            ]
        )
        self._steps = len(material.inputs) // config.batch_size
        if not self._steps:
            raise ConfigError(
                f"{len(material.inputs)} training inputs are fewer than a batch of {config.batch_size}; "
                "give more pairs or a smaller batch"
            )
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimiser,
            [config.learning_rate, config.risk_learning_rate],
            # The schedule cannot warm up in less than a step.
            total_steps=max(config.epochs * self._steps + 1, round(2 / _WARM_UP)),
            pct_start=_WARM_UP,
        )
        self._bank = torch.zeros(0)

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
        for number, step in enumerate(self._epoch_steps(rng)):
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

    def _epoch_steps(self, rng: np.random.Generator) -> Iterator[_Step]:
        """Batches of inputs of like length, in a random order, each with harmless inputs and unlabelled texts."""
        size = self._config.batch_size
        inputs = self._material.inputs
        order = rng.permutation(len(inputs))
        batches = []
        for start in range(0, len(order), size * _BUCKET):
            window = sorted(order[start : start + size * _BUCKET], key=lambda row: len(inputs[row].text))
            batches += [window[begin : begin + size] for begin in range(0, len(window), size)]
        whole = [batch for batch in batches if len(batch) == size]
        half = self._config.texts_per_step // 2
        for place in rng.permutation(len(whole))[: self._steps]:
            harmless, texts = (
                [pool[row] for row in rng.integers(len(pool), size=half)] if pool else []
                for pool in (self._material.harmless, self._material.texts)
            )
            yield _Step([inputs[row] for row in whole[place]], harmless, texts)

    def _losses(self, step: _Step, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        config = self._config
        self.model.train()
        chosen = torch.tensor([int(rng.choice(each.guidelines)) for each in step.inputs])
        drawn = torch.from_numpy(rng.permutation(len(chosen))[: config.guidelines_per_step])
        queries = self._embed([each.text for each in step.inputs], config.query_tokens)
        guidelines = self._embed([self._material.entries[row] for row in chosen[drawn]], config.query_tokens)
        bank = self._bank.clone()
        bank[chosen[drawn]] = guidelines
        scores = queries @ bank.T / config.temperature
        others = torch.zeros_like(scores, dtype=torch.bool)
        for row, each in enumerate(step.inputs):
            others[row, list(each.guidelines)] = True
        others[torch.arange(len(chosen)), chosen] = False
        contrast = nn.functional.cross_entropy(scores.masked_fill(others, -1e4), chosen)
        same = (chosen[drawn][:, None] == chosen[None]) & (torch.arange(len(chosen))[None] != drawn[:, None])
        backwards = (guidelines @ queries.T / config.temperature).masked_fill(same, -1e4)
        contrast = contrast + config.guideline_weight * nn.functional.cross_entropy(backwards, drawn)

        unlabelled = [*step.texts, *step.harmless]
        texts = self._embed(unlabelled, config.text_tokens) if unlabelled else queries[:0]
        needs = torch.tensor([float(each.needs_safety) for each in step.inputs] + [0.0] * len(step.harmless))
        logits = self.risk(torch.cat([queries, texts[len(step.texts) :]]))[:, 0]
        risk = nn.functional.binary_cross_entropy_with_logits(logits, needs)
        anchor = queries.new_zeros(())
        if unlabelled:
            with torch.no_grad():
                before = self._embed(unlabelled, config.text_tokens, model=self._untrained)
            anchor = 1.0 - (texts * before).sum(dim=1).mean()
            anchor = anchor + config.similarity_weight * nn.functional.mse_loss(texts @ texts.T, before @ before.T)
        return contrast, risk, anchor

    def _embed(
        self, texts: Sequence[str], max_tokens: int, *, model: SentenceTransformer | None = None
    ) -> torch.Tensor:
        model = self.model if model is None else model
        model.max_seq_length = max_tokens
        with torch.autocast("cpu", torch.bfloat16):
            vectors = model(model.preprocess(query_texts(list(texts), QueryConfig())))["sentence_embedding"]
        return nn.functional.normalize(vectors.float(), dim=1)

    def _embed_all(self, texts: Sequence[str]) -> torch.Tensor:
        self.model.eval()
        size = self._config.batch_size
        with torch.no_grad():
            starts = range(0, len(texts), size)
            return torch.cat([self._embed(texts[at : at + size], self._config.query_tokens) for at in starts])

    def _save(self, checkpoint: Path, history: Sequence[Mapping[str, float]]) -> None:
        unfinished = checkpoint.with_suffix(".tmp")
        state = {
            "task": self._task,
            "history": list(history),
            "model": self.model.state_dict(),
            "risk": self.risk.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "schedule": self._schedule.state_dict(),
        }
        torch.save(state, unfinished)
        unfinished.replace(checkpoint)

    def _resume(self, checkpoint: Path) -> list[Mapping[str, float]]:
        if not checkpoint.exists():
            return []
        kept: dict[str, Any] = torch.load(checkpoint, weights_only=True)
        if kept["task"] != self._task:
            raise ConfigError(
                f"{checkpoint} was begun with other options, or on other guidelines, pairs or texts; "
                "delete it, or give the same ones"
            )
        self.model.load_state_dict(kept["model"])
        self.risk.load_state_dict(kept["risk"])
        self._optimiser.load_state_dict(kept["optimiser"])
        self._schedule.load_state_dict(kept["schedule"])
        self._report(f"going on after epoch {len(kept['history'])}")
        history: list[Mapping[str, float]] = kept["history"]
        return history

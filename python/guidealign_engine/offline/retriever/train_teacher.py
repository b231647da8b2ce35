"""Fine-tunes a sentence encoder on inputs and their guidelines, without letting it unlearn other text."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from guidealign_engine.config import QueryConfig
from guidealign_engine.errors import ConfigError
from guidealign_engine.offline.guidelines.near_duplicates import similar_pairs
from guidealign_engine.offline.retriever.contrast import Contrast, shortened
from guidealign_engine.offline.retriever.prototypes import Prototypes
from guidealign_engine.offline.retriever.teacher import find_teacher
from guidealign_engine.query import query_texts

Report = Callable[[str], None]

_BUCKET = 20
_WARM_UP = 0.1
_REPORT_STEPS = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherConfig:
    """How the teacher is trained.

    Every guideline of the library is at hand as a negative in every step: their vectors are kept in a bank that is
    encoded anew each `bank_steps`, and `guidelines_per_step` of the positives are encoded with a gradient (cross-batch
    memory, Wang et al., 2020). `prototype_weight` weighs the same loss against what a bundle holds, each guideline's
    entry folded with its inputs (prototypes, Snell et al., 2017), without the input that is looked for. `dimensions`
    are shorter ones that the first elements of a vector are trained for as well (Matryoshka, Kusupati et al., 2022).
    `anchor_weight` holds vectors and similarities of unlabelled texts to those of the untrained model. `risk_weight`
    weighs a logistic regression, on the vector, of whether an input needs a safety guideline.
    """

    epochs: int = 3
    batch_size: int = 64
    guidelines_per_step: int = 16
    texts_per_step: int = 24
    bank_steps: int = 60
    learning_rate: float = 2e-4
    risk_learning_rate: float = 2e-2
    contrast: Contrast = field(default_factory=Contrast)
    dimensions: tuple[int, ...] = ()
    guideline_weight: float = 0.3
    prototype_weight: float = 1.0
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
    rows: list[int]
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
        self._near_copies = near_copies(material.entries)
        self._prototypes = Prototypes([each.guidelines for each in material.inputs], len(material.entries), dimension)

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
            yield _Step(list(whole[place]), [inputs[row] for row in whole[place]], harmless, texts)

    def _losses(self, step: _Step, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        self.model.train()
        queries = self._embed([each.text for each in step.inputs], self._config.query_tokens)
        unlabelled = [*step.texts, *step.harmless]
        texts = self._embed(unlabelled, self._config.text_tokens) if unlabelled else queries[:0]
        contrast = self._contrast_loss(queries, step, rng)
        risk = self._risk_loss(torch.cat([queries, texts[len(step.texts) :]]), step)
        return contrast, risk, self._anchor_loss(texts, unlabelled)

    def _contrast_loss(self, queries: torch.Tensor, step: _Step, rng: np.random.Generator) -> torch.Tensor:
        config = self._config
        chosen = torch.tensor([int(rng.choice(each.guidelines)) for each in step.inputs])
        drawn = torch.from_numpy(rng.permutation(len(chosen))[: config.guidelines_per_step])
        guidelines = self._embed([self._material.entries[row] for row in chosen[drawn]], config.query_tokens)
        bank = self._bank.clone()
        bank[chosen[drawn]] = guidelines
        fitting = self._no_negatives(step.inputs)
        loss = torch.stack(
            [
                config.contrast(shortened(queries, size) @ shortened(bank, size).T, chosen, fitting)
                for size in (bank.shape[1], *config.dimensions)
            ]
        ).mean()
        if config.prototype_weight:
            scores = self._prototypes.scores(queries, bank, step.rows)
            loss = loss + config.prototype_weight * config.contrast(scores, chosen, fitting)
            self._prototypes.keep(step.rows, queries.detach())
        # From the guideline's side only the inputs of the batch are at hand.
        backwards = guidelines @ queries.T / config.contrast.temperature
        same = fitting[:, chosen[drawn]].T.scatter(1, drawn[:, None], False)
        return loss + config.guideline_weight * nn.functional.cross_entropy(backwards.masked_fill(same, -1e4), drawn)

    def _no_negatives(self, inputs: Sequence[TrainingInput]) -> torch.Tensor:
        """Guidelines that fit an input, and near-copies of them, bool (inputs, guidelines)."""
        fitting = torch.zeros((len(inputs), len(self._material.entries)), dtype=torch.bool)
        for row, each in enumerate(inputs):
            for guideline in each.guidelines:
                fitting[row, self._near_copies[guideline]] = True
        return fitting

    def _risk_loss(self, vectors: torch.Tensor, step: _Step) -> torch.Tensor:
        needs = torch.tensor([float(each.needs_safety) for each in step.inputs] + [0.0] * len(step.harmless))
        return nn.functional.binary_cross_entropy_with_logits(self.risk(vectors)[:, 0], needs)

    def _anchor_loss(self, vectors: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """How far unlabelled texts, and what lies between them, moved away from the untrained model."""
        if not texts:
            return vectors.new_zeros(())
        with torch.no_grad():
            before = self._embed(texts, self._config.text_tokens, model=self._untrained)
        moved = 1.0 - (vectors * before).sum(dim=1).mean()
        return moved + self._config.similarity_weight * nn.functional.mse_loss(vectors @ vectors.T, before @ before.T)

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
            "prototypes": self._prototypes.state(),
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
        self._prototypes.resume(kept["prototypes"])
        self._optimiser.load_state_dict(kept["optimiser"])
        self._schedule.load_state_dict(kept["schedule"])
        self._report(f"going on after epoch {len(kept['history'])}")
        history: list[Mapping[str, float]] = kept["history"]
        return history


def near_copies(entries: Sequence[str]) -> list[list[int]]:
    """Each guideline with those whose entries are nearly the same as its own (Indel ratio of 0.75 or more)."""
    copies = [[row] for row in range(len(entries))]
    for pairs in similar_pairs(entries):
        for later, earlier in zip(pairs.later.tolist(), pairs.earlier.tolist(), strict=True):
            copies[later].append(earlier)
            copies[earlier].append(later)
    return copies

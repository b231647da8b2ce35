"""Distils a thin transformer from the teacher's vectors, a library and pairs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import nn

from guidealign_engine.errors import ConfigError
from guidealign_engine.offline.retriever.checkpoints import load_checkpoint, save_checkpoint
from guidealign_engine.offline.retriever.distil_loss import distil_loss
from guidealign_engine.offline.retriever.distil_task import held_out_rows, task_digest
from guidealign_engine.offline.retriever.static_student import DistilReport, LibraryTargets
from guidealign_engine.offline.retriever.thin_bert import POSITIONS, ThinBert
from guidealign_engine.offline.retriever.token_rows import TokenRows
from guidealign_engine.offline.retriever.training_device import CPU
from guidealign_engine.offline.retriever.transformer_config import TransformerConfig

Report = Callable[[str], None]

_WARM_UP = 0.05
_REPORT_S = 20.0


class TransformerDistiller:
    """The network and the loop; a checkpoint is written after every epoch and resumed from."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        texts: Sequence[str],
        targets: NDArray[np.float32],
        table: NDArray[np.float32],
        config: TransformerConfig,
        *,
        library: LibraryTargets | None = None,
        device: torch.device = CPU,
        report: Report = lambda line: None,
    ) -> None:
        """targets: the teacher's unit vectors (texts, dimension); table: those of each token.

        Raises ConfigError when there are too few texts.
        """
        if len(texts) < 2 * config.held_out:
            raise ConfigError(f"{len(texts)} texts are too few; give at least {2 * config.held_out}")
        self._config = config
        self._report = report
        self._device = device
        self.model = ThinBert(table, layers=config.layers, width=config.width, seed=config.seed).to(self._device)
        self._rows = TokenRows(tokenizer, texts, POSITIONS)
        self._targets = torch.from_numpy(targets).to(self._device)
        self._guidelines = None if library is None else torch.from_numpy(library.vectors).to(self._device)
        self._labels = None if library is None else torch.from_numpy(library.labels).to(self._device)
        self._held_out, self._training = held_out_rows(len(texts), config, library)
        self._optimiser = torch.optim.AdamW(self.model.parameters(), lr=config.learning_rate, weight_decay=0.01)
        # What a checkpoint is for: nothing else may go on from it.
        self._task = task_digest(tokenizer, texts, targets, table, config, library)

    def train(self, checkpoint: Path) -> DistilReport:
        """All epochs that `checkpoint` lacks; `model` then is that of the epoch that agreed best with held-out texts.

        Raises ConfigError when the loss is no longer a number, and for a checkpoint of other material or options.
        """
        history, best = self._resume(checkpoint)
        for epoch in range(len(history), self._config.epochs):
            self._train_epoch(epoch)
            history.append(self._agreement())
            if history[-1] >= max(history):
                best = {name: weights.detach().cpu().clone() for name, weights in self.model.state_dict().items()}
            self._save(checkpoint, history, best)
            self._report(f"epoch {epoch + 1} of {self._config.epochs}: held-out cosine {history[-1]:.4f}")
        self.model.load_state_dict(best)
        self.model.to("cpu").eval()
        return DistilReport(cosine=history, best_epoch=len(history) - int(np.argmax(history[::-1])))

    def _train_epoch(self, epoch: int) -> None:
        # An epoch's draws depend on its number alone, so that a resumed run sees what an unbroken one would have seen.
        rng = np.random.default_rng([self._config.seed, epoch])
        dropped = torch.Generator().manual_seed(self._config.seed * 1_000_003 + epoch)
        batches = self._rows.batches(self._training, rng, self._config.batch_size, self._config.tokens_per_batch)
        self.model.train()
        reported = started = time.monotonic()
        for number, rows in enumerate(batches):
            for group in self._optimiser.param_groups:
                group["lr"] = self._config.learning_rate * self._pace(epoch, number / len(batches))
            loss = self._loss(rows, dropped)
            if not torch.isfinite(loss):
                raise ConfigError(f"the loss is {loss.item()} in epoch {epoch + 1}; lower the learning rate")
            self._optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self._optimiser.step()
            if time.monotonic() - reported > _REPORT_S:
                reported = time.monotonic()
                rate = (reported - started) / (number + 1)
                left = rate * (len(batches) * (self._config.epochs - epoch) - number - 1)
                self._report(f"  batch {number + 1} of {len(batches)}, {left / 60:.0f} min left")

    def _pace(self, epoch: int, share: float) -> float:
        """Of the learning rate: up over the first twentieth of all training, then down to nothing."""
        done = (epoch + share) / self._config.epochs
        return min(max(done, 1e-4) / _WARM_UP, (1.0 - done) / (1.0 - _WARM_UP))

    def _loss(self, rows: NDArray[np.int64], dropped: torch.Generator) -> torch.Tensor:
        ids, mask = self._rows.padded(rows)
        mask = mask * (torch.rand(mask.shape, generator=dropped) >= self._config.token_dropout)
        places = torch.from_numpy(rows).to(self._device)
        labels = None if self._labels is None else self._labels[places]
        return distil_loss(self._embed(ids, mask), self._targets[places], self._config, self._guidelines, labels)

    def _embed(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            vectors: torch.Tensor = self.model(ids.to(self._device), mask.to(self._device))
        return vectors.float()

    def _agreement(self) -> float:
        """Mean cosine to the teacher over the held-out texts."""
        self.model.eval()
        rng = np.random.default_rng(0)
        total = 0.0
        with torch.no_grad():
            for rows in self._rows.batches(self._held_out, rng, self._config.batch_size, self._config.tokens_per_batch):
                wanted = self._targets[torch.from_numpy(rows).to(self._device)]
                total += float((self._embed(*self._rows.padded(rows)) * wanted).sum())
        return total / len(self._held_out)

    def _save(self, checkpoint: Path, history: list[float], best: dict[str, torch.Tensor]) -> None:
        state = {
            "task": self._task,
            "history": history,
            "best": best,
            "model": self.model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }
        save_checkpoint(checkpoint, state)

    def _resume(self, checkpoint: Path) -> tuple[list[float], dict[str, torch.Tensor]]:
        other = "on other texts, guidelines, pairs or by another teacher"
        kept = load_checkpoint(checkpoint, task=self._task, depends_on=other)
        if kept is None:
            return [], {}
        self.model.load_state_dict(kept["model"])
        self._optimiser.load_state_dict(kept["optimiser"])
        self._report(f"going on after epoch {len(kept['history'])}")
        return kept["history"], kept["best"]

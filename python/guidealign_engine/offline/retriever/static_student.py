"""The first student: one learned vector a token, added up and scaled to unit length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import nn

from guidealign_engine.batches import TokenBatch
from guidealign_engine.errors import ConfigError
from guidealign_engine.offline.retriever.distil_loss import DistilWeights, distil_loss
from guidealign_engine.offline.retriever.training_device import CPU
from guidealign_engine.offline.retriever.vocabulary import PADDING
from guidealign_engine.tokenizer import QueryTokenizer

_TOP = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilConfig(DistilWeights):
    """Training of a static student."""

    epochs: int = 8
    batch_size: int = 1024
    learning_rate: float = 3e-3
    pair_repeats: int = 2
    token_dropout: float = 0.1
    held_out: int = 2000
    seed: int = 13


@dataclass(frozen=True, slots=True)
class LibraryTargets:
    """What the student is to find: the library's vectors, and for some of the texts the guideline that fits."""

    vectors: NDArray[np.float32]
    """One a guideline, float32 (guidelines, dimension), in the students' space."""
    labels: NDArray[np.int64]
    """int64 (texts,): the position of the guideline that fits a text, -1 where none is known."""


@dataclass(frozen=True, slots=True)
class DevInputs:
    """Inputs that are not trained on, and the positions of the guidelines that fit each."""

    texts: Sequence[str]
    guidelines: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class DistilReport:
    """Agreement with the teacher on held-out texts after each epoch."""

    cosine: list[float]
    best_epoch: int
    overlap: list[float] = field(default_factory=list)
    """Of the six nearest guidelines, where there is a library. It decides then."""
    recall: list[float] = field(default_factory=list)
    """recall@6 of the development inputs, where there are any. Its sum with the overlap decides then."""


class TokenBag:
    """Token ids of many texts, end to end, so that a batch is a slice and never padded."""

    def __init__(self, tokens: TokenBatch) -> None:
        self._ids = tokens.ids
        self._offsets = tokens.offsets

    def batch(self, rows: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and the offset of each row, as nn.EmbeddingBag reads them."""
        parts = [self._ids[self._offsets[row] : self._offsets[row + 1]] for row in rows]
        lengths = np.array([len(part) for part in parts])
        offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        return torch.from_numpy(np.concatenate(parts)), torch.from_numpy(offsets)


def initial_table(
    tokenizer: Tokenizer, embed: Callable[[list[str]], NDArray[np.float32]], bigrams: int = 0
) -> NDArray[np.float32]:
    """What the teacher makes of each token alone, float32 (vocabulary + bigrams, dimension); padding is zero.

    Rare tokens, which hardly any training text holds, keep this and are still useful. The idea is model2vec's. Bigrams
    begin at zero: they learn what the sum of their tokens lacks.
    """
    tokens = [tokenizer.id_to_token(index).removeprefix("##") for index in range(tokenizer.get_vocab_size())]
    table = embed(tokens)
    table[tokenizer.token_to_id(PADDING)] = 0.0
    return np.concatenate([table, np.zeros((bigrams, table.shape[1]), dtype=np.float32)])


def distil(
    reader: QueryTokenizer,
    texts: Sequence[str],
    targets: NDArray[np.float32],
    table: NDArray[np.float32],
    config: DistilConfig,
    *,
    library: LibraryTargets | None = None,
    dev: DevInputs | None = None,
    device: torch.device = CPU,
    progress: Callable[[int, int, float], None] | None = None,
) -> tuple[NDArray[np.float32], DistilReport]:
    """Learns a table of tokens and bigrams whose sums point where the teacher's vectors (`targets`, unit length) do.

    Two losses: the cosine to the teacher's vector, and the squared error of all similarities inside the batch, since
    ranking depends on these. With a library two more: the divergence from the teacher's distribution over its
    guidelines, and the cross entropy of the guideline that fits, where it is known; such texts are repeated
    `pair_repeats` times an epoch. The table of the best epoch is returned, by agreement with the teacher on held-out
    texts, on the nearest guidelines or, without a library, on the vectors; with `dev` inputs also by their recall@6.
    Raises ConfigError when there are too few texts, or when the loss is no longer a number.
    """
    if len(texts) < 2 * config.held_out:
        raise ConfigError(f"{len(texts)} texts are too few; give at least {2 * config.held_out}")
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    bag = TokenBag(reader.encode(list(texts)))
    target = torch.from_numpy(targets).to(device)
    guidelines = None if library is None else torch.from_numpy(library.vectors).to(device)
    order = rng.permutation(len(texts))
    held_out, training = order[: config.held_out], order[config.held_out :]
    if library is not None:
        labelled = np.flatnonzero(library.labels >= 0)
        held_out = order[library.labels[order] < 0][: config.held_out]
        once = np.setdiff1d(order, held_out)
        training = np.concatenate([once, *[labelled] * (config.pair_repeats - 1)])

    model = nn.EmbeddingBag.from_pretrained(torch.from_numpy(table), freeze=False, mode="sum", padding_idx=0).to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    steps = config.epochs * (len(training) // config.batch_size + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=config.learning_rate, total_steps=steps, pct_start=0.05
    )
    report = DistilReport([], 0)
    dev_bag = None if dev is None else TokenBag(reader.encode(list(dev.texts)))
    best_table = table
    for epoch in range(config.epochs):
        rng.shuffle(training)
        for start in range(0, len(training), config.batch_size):
            rows = training[start : start + config.batch_size]
            loss = _loss(
                model, bag, rows, target, config, guidelines, None if library is None else library.labels[rows]
            )
            if not torch.isfinite(loss):
                raise ConfigError(f"the loss is {loss.item()} in epoch {epoch + 1}; lower the learning rate")
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        vectors, wanted = _vectors(model, bag, held_out), targets[held_out]
        report.cosine.append(float((vectors * wanted).sum(axis=1).mean()))
        if library is not None:
            report.overlap.append(top_overlap(vectors, wanted, library.vectors))
        if library is not None and dev is not None and dev_bag is not None:
            found = _vectors(model, dev_bag, np.arange(len(dev.texts)))
            report.recall.append(recall_at_six(found, library.vectors, dev.guidelines))
        agreement = _agreement(report)
        if agreement[-1] >= max(agreement):
            best_table = model.weight.detach().cpu().numpy().copy()
        if progress is not None:
            progress(epoch + 1, config.epochs, agreement[-1])
    best_table[0] = 0.0
    # The latest of equals, as its table was kept.
    return best_table, replace(report, best_epoch=len(agreement) - int(np.argmax(agreement[::-1])))


def _agreement(report: DistilReport) -> list[float]:
    """By epoch, what decides which is the best. Recall alone would choose an epoch that knows the pairs by heart."""
    if report.recall:
        return [sum(both) for both in zip(report.recall, report.overlap, strict=True)]
    return report.overlap or report.cosine


def _loss(
    model: nn.EmbeddingBag,
    bag: TokenBag,
    rows: NDArray[np.int64],
    target: torch.Tensor,
    config: DistilConfig,
    guidelines: torch.Tensor | None,
    labels: NDArray[np.int64] | None,
) -> torch.Tensor:
    device = target.device
    ids, offsets = bag.batch(rows)
    if config.token_dropout > 0:
        ids = torch.where(torch.rand(ids.shape) < config.token_dropout, 0, ids)
    student = nn.functional.normalize(model(ids.to(device), offsets.to(device)), dim=1)
    teacher = target[torch.from_numpy(rows).to(device)]
    known = None if labels is None else torch.from_numpy(labels).to(device)
    return distil_loss(student, teacher, config, guidelines, known)


def _vectors(model: nn.EmbeddingBag, bag: TokenBag, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    ids, offsets = bag.batch(rows)
    device = model.weight.device
    with torch.no_grad():
        vectors = nn.functional.normalize(model(ids.to(device), offsets.to(device)), dim=1)
    found: NDArray[np.float32] = vectors.cpu().numpy()
    return found


def top_overlap(student: NDArray[np.float32], teacher: NDArray[np.float32], library: NDArray[np.float32]) -> float:
    """Mean share of the six guidelines nearest to the teacher's vector that are so to the student's as well.

    student, teacher: unit vectors, float32 (texts, dimension); library: float32 (guidelines, dimension).
    """
    return recall_at_six(student, library, _nearest(teacher, library).tolist())


def recall_at_six(
    vectors: NDArray[np.float32], library: NDArray[np.float32], guidelines: Sequence[Sequence[int]]
) -> float:
    """Mean share of each text's guidelines that are among the six nearest to its vector."""
    nearest = _nearest(vectors, library).tolist()
    return float(np.mean([len(set(row) & set(own)) / len(own) for row, own in zip(nearest, guidelines, strict=True)]))


def _nearest(vectors: NDArray[np.float32], library: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.argsort(-(vectors @ library.T), axis=1, kind="stable")[:, :_TOP]

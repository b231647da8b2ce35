"""semantic-router: a route a guideline, with its texts as utterances; the best utterance decides. One query a call."""

from __future__ import annotations

from typing import Any

from pydantic import PrivateAttr
from semantic_router.encoders import DenseEncoder
from semantic_router.encoders.local import LocalEncoder
from semantic_router.index import LocalIndex
from semantic_router.routers import IndexedRouter

from bench.peers.encoders import open_encoder
from bench.peers.glue import Glue
from bench.peers.task import CANDIDATES, VECTORS, Guided, Task


class _Custom(DenseEncoder):
    _embed: Any = PrivateAttr()

    def __init__(self, task: Task) -> None:
        super().__init__(name=task.encoder)
        self._embed = open_encoder(task.encoder, task.model)

    def __call__(self, docs: list[Any]) -> list[list[float]]:
        return self._embed(docs).tolist()


def build(task: Task) -> None:
    """A local index cannot be saved: it is filled again from vectors at each start."""


class Peer:
    def __init__(self, task: Task) -> None:
        encoder = LocalEncoder(name=task.model) if task.encoder == "minilm" else _Custom(task)
        index = LocalIndex()
        index.add(list(task.vectors), [str(owner) for owner in task.owners], task.texts)
        self._router = IndexedRouter(encoder, index=index, top_k=VECTORS, aggregation="max")
        self._glue = Glue.of(task)

    def guide(self, prompts: list[str]) -> list[Guided]:
        return [self._guided(prompt) for prompt in prompts]

    def _guided(self, prompt: str) -> Guided:
        choices = self._router(prompt, limit=CANDIDATES)
        return self._glue.with_guidelines(prompt, self._glue.kept(int(choice.name) for choice in choices))

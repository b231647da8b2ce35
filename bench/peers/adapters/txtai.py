"""txtai's embeddings database with its defaults, under the recipe's glue."""

from __future__ import annotations

from typing import Any

from txtai import Embeddings

from bench.peers.encoders import open_encoder
from bench.peers.glue import Glue
from bench.peers.task import VECTORS, Guided, Task


def build(task: Task) -> None:
    embeddings = Embeddings({"method": "external"})
    embeddings.index((place, vector, None) for place, vector in enumerate(task.vectors))
    embeddings.save(task.file("txtai"))


class Peer:
    def __init__(self, task: Task) -> None:
        self._embeddings = Embeddings()
        self._embeddings.load(task.file("txtai"), config=_vectors_by(task))
        self._glue = Glue.of(task)

    def guide(self, prompts: list[str]) -> list[Guided]:
        found = self._embeddings.batchsearch(prompts, VECTORS)
        return list(map(self._glue.guided, prompts, ([int(id) for id, _ in row] for row in found)))


def _vectors_by(task: Task) -> dict[str, Any]:
    """The saved vectors are the encoder's own, so what is left is to say which model makes those of prompts."""
    if task.encoder == "minilm":
        return {"method": "sentence-transformers", "path": task.model}
    embed = open_encoder(task.encoder, task.model)
    return {"method": "external", "transform": lambda texts: embed(texts)}

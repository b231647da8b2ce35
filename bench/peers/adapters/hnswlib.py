"""hnswlib with the parameters of its README, under the recipe's glue."""

from __future__ import annotations

import hnswlib

from bench.peers.encoders import open_encoder
from bench.peers.glue import Glue
from bench.peers.task import VECTORS, Guided, Task

_EF = 2 * VECTORS


def build(task: Task) -> None:
    index = hnswlib.Index(space="ip", dim=task.vectors.shape[1])
    index.init_index(max_elements=len(task.texts), ef_construction=200, M=16)
    index.add_items(task.vectors, num_threads=1)
    index.save_index(task.file("index.hnsw"))


class Peer:
    def __init__(self, task: Task) -> None:
        self._embed = open_encoder(task.encoder, task.model)
        self._index = hnswlib.Index(space="ip", dim=task.vectors.shape[1])
        self._index.load_index(task.file("index.hnsw"))
        self._index.set_ef(_EF)
        self._glue = Glue.of(task)

    def guide(self, prompts: list[str]) -> list[Guided]:
        nearest = self._index.knn_query(self._embed(prompts), k=VECTORS, num_threads=1)[0]
        return list(map(self._glue.guided, prompts, nearest.tolist()))

"""usearch, its HNSW graph with the defaults, under the recipe's glue."""

from __future__ import annotations

import numpy as np

from bench.peers.encoders import open_encoder
from bench.peers.glue import Glue
from bench.peers.task import VECTORS, Guided, Task


def build(task: Task) -> None:
    from usearch.index import Index

    index = Index(ndim=task.vectors.shape[1], metric="ip", dtype="f32")
    index.add(np.arange(len(task.texts)), task.vectors, threads=1)
    index.save(task.file("index.usearch"))


class Peer:
    def __init__(self, task: Task) -> None:
        self._embed = open_encoder(task.encoder, task.model)
        # Imported before ONNX Runtime, usearch 2.26 crashes the import of that.
        from usearch.index import Index

        self._index = Index.restore(task.file("index.usearch"))
        self._glue = Glue.of(task)

    def guide(self, prompts: list[str]) -> list[Guided]:
        # One query gives keys of one dimension, several of two.
        nearest = np.atleast_2d(self._index.search(self._embed(prompts), VECTORS, threads=1).keys)
        return list(map(self._glue.guided, prompts, nearest.tolist()))

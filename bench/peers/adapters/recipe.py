"""The recipe that one writes by hand: sentence-transformers, an exact FAISS index, rapidfuzz, Jinja2."""

from __future__ import annotations

import faiss

from bench.peers.encoders import open_encoder
from bench.peers.glue import Glue
from bench.peers.task import VECTORS, Guided, Task


def build(task: Task) -> None:
    index = faiss.IndexFlatIP(task.vectors.shape[1])
    index.add(task.vectors)
    faiss.write_index(index, task.file("index.faiss"))


class Peer:
    def __init__(self, task: Task) -> None:
        faiss.omp_set_num_threads(1)
        self._embed = open_encoder(task.encoder, task.model)
        self._index = faiss.read_index(task.file("index.faiss"))
        self._glue = Glue.of(task)

    def guide(self, prompts: list[str]) -> list[Guided]:
        nearest = self._index.search(self._embed(prompts), VECTORS)[1]
        return list(map(self._glue.guided, prompts, nearest.tolist()))

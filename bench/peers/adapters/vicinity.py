"""model2vec for vectors and vicinity, its exact backend, for the search, under the recipe's glue."""

from __future__ import annotations

from vicinity import Backend, Metric, Vicinity

from bench.peers.encoders import open_encoder
from bench.peers.glue import Glue
from bench.peers.task import VECTORS, Guided, Task


def build(task: Task) -> None:
    vicinity = Vicinity.from_vectors_and_items(
        vectors=task.vectors, items=list(range(len(task.texts))), backend_type=Backend.BASIC, metric=Metric.COSINE
    )
    vicinity.save(task.file("vicinity"), overwrite=True)


class Peer:
    def __init__(self, task: Task) -> None:
        self._embed = open_encoder(task.encoder, task.model)
        self._vicinity = Vicinity.load(task.file("vicinity"))
        self._glue = Glue.of(task)

    def guide(self, prompts: list[str]) -> list[Guided]:
        found = self._vicinity.query(self._embed(prompts), k=VECTORS)
        return list(map(self._glue.guided, prompts, ([int(item) for item, _ in row] for row in found)))

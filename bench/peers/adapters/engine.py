"""This project's engine, opened on the bundle as it was shipped; every cut off, so that six guidelines come back."""

from __future__ import annotations

from bench.peers.task import Guided, Task
from guidealign_engine import load_engine


def build(task: Task) -> None:
    """A bundle is built."""


class Peer:
    def __init__(self, task: Task) -> None:
        self._engine = load_engine(task.model, threads=1)

    def guide(self, prompts: list[str]) -> list[Guided]:
        answers = self._engine.assemble_batch(prompts, min_score=-1.0)
        return [Guided(answer.prompt, answer.retrieval.positions) for answer in answers]

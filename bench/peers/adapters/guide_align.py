"""Guide-Align's own way, written anew from its description: every query padded to 512 tokens, every vector read,
near-duplicates out by Python's difflib, nothing put in their place.
"""

from __future__ import annotations

from difflib import SequenceMatcher

import faiss

from bench.peers.encoders import BertBase
from bench.peers.glue import Glue
from bench.peers.task import CANDIDATES, SHOWN, Guided, Task

_DUPLICATE_RATIO = 0.5


def build(task: Task) -> None:
    index = faiss.IndexFlatIP(task.vectors.shape[1])
    index.add(task.vectors)
    faiss.write_index(index, task.file("index.faiss"))


class Peer:
    def __init__(self, task: Task) -> None:
        faiss.omp_set_num_threads(1)
        self._encoder = BertBase(task.model, padded=True)
        self._index = faiss.read_index(task.file("index.faiss"))
        self._glue = Glue.of(task)

    def guide(self, prompts: list[str]) -> list[Guided]:
        nearest = self._index.search(self._encoder.embed(prompts), CANDIDATES)[1]
        return [
            self._glue.with_guidelines(prompt, without_duplicates(row, self._glue.entries)[:SHOWN])
            for prompt, row in zip(prompts, nearest.tolist(), strict=True)
        ]


def without_duplicates(ranked: list[int], entries: list[str]) -> list[int]:
    """Each candidate that is unlike all that were kept before it."""
    kept: list[int] = []
    for candidate in ranked:
        if all(SequenceMatcher(None, entries[candidate], entries[other]).ratio() < _DUPLICATE_RATIO for other in kept):
            kept.append(candidate)
    return kept

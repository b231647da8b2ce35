"""The same task as one would write it by hand: sentence-transformers, FAISS, rapidfuzz, Jinja2."""

from __future__ import annotations

from collections.abc import Sequence

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from bench.peers.encoders import MiniLm, minilm_folder
from bench.peers.glue import Glue
from bench.peers.task import VECTORS, Guided
from guidealign_engine.library import GuidelineRecord


class Recipe:
    """A warm model and an exact index over the entries and examples of the guidelines."""

    def __init__(self, records: Sequence[GuidelineRecord], *, threads: int) -> None:
        torch.set_num_threads(threads)
        faiss.omp_set_num_threads(threads)
        self.embed = MiniLm(minilm_folder()).embed
        self.entries = [record.entry for record in records]
        texts = [text for record in records for text in (record.entry, *record.examples)]
        self.owners = [place for place, record in enumerate(records) for _ in range(1 + len(record.examples))]
        self.vectors: NDArray[np.float32] = self.embed(texts)
        self._index = faiss.IndexFlatIP(self.vectors.shape[1])
        self._index.add(self.vectors)
        self._glue = Glue(self.entries, self.owners)

    def assemble(self, prompt: str) -> Guided:
        """The prompt as chat messages, the guidelines in a system message."""
        return self._glue.guided(prompt, self._index.search(self.embed([prompt]), VECTORS)[1][0].tolist())

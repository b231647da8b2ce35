"""NeMo Guardrails: the embeddings index that finds canonical forms and flows, under the recipe's glue."""

from __future__ import annotations

import asyncio

from nemoguardrails.embeddings.basic import BasicEmbeddingsIndex
from nemoguardrails.embeddings.index import IndexItem
from nemoguardrails.embeddings.providers import register_embedding_provider
from nemoguardrails.embeddings.providers.base import EmbeddingModel

from bench.peers.encoders import open_encoder
from bench.peers.glue import Glue
from bench.peers.task import VECTORS, Guided, Task

_BATCH = 64


class _Custom(EmbeddingModel):
    engine_name = "student"

    def __init__(self, embedding_model: str) -> None:
        self._embed = open_encoder("student", embedding_model)

    def encode(self, documents: list[str]) -> list[list[float]]:
        return self._embed(documents).tolist()

    async def encode_async(self, documents: list[str]) -> list[list[float]]:
        return self.encode(documents)


def build(task: Task) -> None:
    """It saves nothing: an index that is there already is handed over as an array."""


class Peer:
    def __init__(self, task: Task) -> None:
        if task.encoder == "student":
            register_embedding_provider(_Custom)
        self._loop = asyncio.new_event_loop()
        self._index = BasicEmbeddingsIndex(
            embedding_model=task.model,
            embedding_engine={"minilm": "SentenceTransformers"}.get(task.encoder, task.encoder),
            index=task.vectors,
            max_batch_size=_BATCH,
        )
        owned = zip(task.texts, task.owners, strict=True)
        items = [IndexItem(text=text, meta={"guideline": owner}) for text, owner in owned]
        self._loop.run_until_complete(self._index.add_items(items))
        self._loop.run_until_complete(self._found([task.texts[0]]))
        self._glue = Glue.of(task)

    def guide(self, prompts: list[str]) -> list[Guided]:
        found = self._loop.run_until_complete(self._found(prompts))
        kept = [self._glue.kept(item.meta["guideline"] for item in row) for row in found]
        return list(map(self._glue.with_guidelines, prompts, kept))

    async def _found(self, prompts: list[str]) -> list[list[IndexItem]]:
        # A single request would wait for others to come; a batch comes at once.
        self._index.use_batching = len(prompts) > 1
        return list(await asyncio.gather(*(self._index.search(prompt, max_results=VECTORS) for prompt in prompts)))

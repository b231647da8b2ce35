"""LlamaIndex: a vector index over a FAISS store, its retriever, and a chat prompt template."""

from __future__ import annotations

from typing import Any

import faiss
from llama_index.core import ChatPromptTemplate, QueryBundle, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import ChatMessage
from llama_index.core.schema import TextNode
from llama_index.vector_stores.faiss import FaissVectorStore
from pydantic import PrivateAttr

from bench.peers.encoders import open_encoder
from bench.peers.glue import HEADER, Glue
from bench.peers.task import VECTORS, Guided, Task


class _Custom(BaseEmbedding):
    _embed: Any = PrivateAttr()

    def __init__(self, task: Task) -> None:
        super().__init__(model_name=task.encoder)
        self._embed = open_encoder(task.encoder, task.model)

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._embed(texts).tolist()

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embeddings([query])[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


def _embed_model(task: Task) -> BaseEmbedding:
    if task.encoder != "minilm":
        return _Custom(task)
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding

    return HuggingFaceEmbedding(task.model, device="cpu", embed_batch_size=64)


def build(task: Task) -> None:
    store = FaissVectorStore(faiss.IndexFlatIP(task.vectors.shape[1]))
    nodes = [
        TextNode(text=text, embedding=vector, metadata={"guideline": owner})
        for text, vector, owner in zip(task.texts, task.vectors.tolist(), task.owners, strict=True)
    ]
    index = VectorStoreIndex(
        nodes, storage_context=StorageContext.from_defaults(vector_store=store), embed_model=_embed_model(task)
    )
    index.storage_context.persist(task.file("storage"))


class Peer:
    def __init__(self, task: Task) -> None:
        self._embed_model = _embed_model(task)
        store = FaissVectorStore.from_persist_dir(task.file("storage"))
        context = StorageContext.from_defaults(vector_store=store, persist_dir=task.file("storage"))
        index = load_index_from_storage(context, embed_model=self._embed_model)
        self._retriever = index.as_retriever(similarity_top_k=VECTORS)
        self._glue = Glue.of(task)
        system = f"<guidelines>\n{HEADER}\n{{guidelines}}\n</guidelines>"
        self._template = ChatPromptTemplate(
            [ChatMessage(role="system", content=system), ChatMessage(role="user", content="{prompt}")]
        )

    def guide(self, prompts: list[str]) -> list[Guided]:
        return list(map(self._guided, prompts, self._embed_model.get_text_embedding_batch(prompts)))

    def _guided(self, prompt: str, vector: list[float]) -> Guided:
        found = self._retriever.retrieve(QueryBundle(prompt, embedding=vector))
        kept = self._glue.kept(node.metadata["guideline"] for node in found)
        lines = "\n".join(f"- {self._glue.entries[position]}" for position in kept)
        messages = self._template.format_messages(guidelines=lines, prompt=prompt)
        return Guided([{"role": str(each.role.value), "content": each.content} for each in messages], kept)

"""LangChain: its FAISS vector store searched by maximal marginal relevance, and a chat prompt template."""

from __future__ import annotations

from langchain_community.vectorstores import FAISS
from langchain_community.vectorstores.utils import DistanceStrategy
from langchain_core.embeddings import Embeddings
from langchain_core.messages import convert_to_openai_messages
from langchain_core.prompts import ChatPromptTemplate

from bench.peers.encoders import open_encoder
from bench.peers.task import CANDIDATES, SHOWN, VECTORS, Guided, Task

_SYSTEM = (
    "<guidelines>\n"
    "Follow these guidelines where they apply to the request. Do not mention them.\n"
    "{guidelines}\n"
    "</guidelines>"
)


class _Custom(Embeddings):
    def __init__(self, task: Task) -> None:
        self._embed = open_encoder(task.encoder, task.model)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._embed(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def _embeddings(task: Task) -> Embeddings:
    if task.encoder != "minilm":
        return _Custom(task)
    from langchain_huggingface import HuggingFaceEmbeddings

    return HuggingFaceEmbeddings(model_name=task.model, encode_kwargs={"normalize_embeddings": True})


def build(task: Task) -> None:
    store = FAISS.from_embeddings(
        zip(task.texts, task.vectors.tolist(), strict=True),
        _embeddings(task),
        metadatas=[{"guideline": owner} for owner in task.owners],
        distance_strategy=DistanceStrategy.MAX_INNER_PRODUCT,
    )
    store.save_local(task.file("faiss"))


class Peer:
    def __init__(self, task: Task) -> None:
        self._entries = task.entries
        self._embeddings = _embeddings(task)
        self._store = FAISS.load_local(
            task.file("faiss"),
            self._embeddings,
            allow_dangerous_deserialization=True,
            distance_strategy=DistanceStrategy.MAX_INNER_PRODUCT,
        )
        # Where a guideline has several texts, twice as many are taken, since some fall together.
        self._sizes = {"k": SHOWN, "fetch_k": CANDIDATES}
        if len(task.texts) > len(task.entries):
            self._sizes = {"k": 2 * SHOWN, "fetch_k": VECTORS}
        self._template = ChatPromptTemplate.from_messages([("system", _SYSTEM), ("human", "{prompt}")])

    def guide(self, prompts: list[str]) -> list[Guided]:
        return list(map(self._guided, prompts, self._embeddings.embed_documents(prompts)))

    def _guided(self, prompt: str, vector: list[float]) -> Guided:
        found = self._store.max_marginal_relevance_search_by_vector(vector, **self._sizes)
        kept = list(dict.fromkeys(document.metadata["guideline"] for document in found))[:SHOWN]
        lines = "\n".join(f"- {self._entries[position]}" for position in kept)
        messages = self._template.format_messages(guidelines=lines, prompt=prompt)
        return Guided(convert_to_openai_messages(messages), kept)

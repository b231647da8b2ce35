"""The peers, and what each needs to run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum


class Duplicates(Enum):
    """How a peer keeps near-duplicates out, and whether it always ends with six guidelines."""

    INDEL = "indel"
    DIFFLIB = "difflib"
    DIVERSITY = "maximal marginal relevance"


@dataclass(frozen=True, slots=True)
class Peer:
    """A library, or a way of using several, and the encoders that it is measured with."""

    name: str
    title: str
    packages: tuple[str, ...]
    """What must be installed, as pip names it; the import name follows after a colon where it is another."""
    encoders: tuple[str, ...] = ("minilm", "student")
    module: str = ""
    own_environment: bool = False
    """Its packages want other versions than the offline extra."""
    duplicates: Duplicates = Duplicates.INDEL
    note: str = ""

    @property
    def adapter(self) -> str:
        return self.module or f"bench.peers.adapters.{self.name.replace('-', '_')}"

    @property
    def requirements(self) -> list[str]:
        return [package.partition(":")[0] for package in self.packages]


@dataclass(frozen=True, slots=True)
class Row:
    """A peer with one encoder."""

    peer: Peer
    encoder: str

    @property
    def name(self) -> str:
        return self.peer.name if self.encoder == self.peer.encoders[0] else f"{self.peer.name}+{self.encoder}"


_GLUE = ("rapidfuzz", "jinja2")
_NO_SAVE = "keeps nothing on disk: its index is filled from vectors at each start"

PEERS = (
    Peer("engine", "guidealign_engine", ("onnxruntime", "faiss-cpu:faiss"), encoders=("bundle",)),
    Peer("recipe", "recipe by hand: FAISS flat, rapidfuzz, Jinja2", ("faiss-cpu:faiss", *_GLUE)),
    Peer(
        "langchain",
        "LangChain, FAISS store",
        ("langchain-community", "langchain-huggingface", "faiss-cpu:faiss"),
        duplicates=Duplicates.DIVERSITY,
        note="maximal marginal relevance trades likeness for variety, which lowers recall on purpose",
    ),
    Peer(
        "llamaindex",
        "LlamaIndex, FAISS store",
        (
            "llama-index-core:llama_index.core",
            "llama-index-vector-stores-faiss:llama_index.vector_stores.faiss",
            "llama-index-embeddings-huggingface:llama_index.embeddings.huggingface",
            "faiss-cpu:faiss",
            *_GLUE,
        ),
    ),
    Peer(
        "semantic-router",
        "semantic-router, local index",
        (
            "semantic-router>=1.1,<2:semantic_router",
            "sentence-transformers",
            "torch",
            "transformers",
            "onnxruntime",
            *_GLUE,
        ),
        own_environment=True,
        note=f"one query a call; {_NO_SAVE}",
    ),
    Peer(
        "nemo-guardrails",
        "NeMo Guardrails, embeddings index",
        ("nemoguardrails", *_GLUE),
        note=_NO_SAVE,
    ),
    Peer("txtai", "txtai", ("txtai", *_GLUE)),
    Peer("usearch", "usearch under the recipe's glue", ("usearch", *_GLUE)),
    Peer("hnswlib", "hnswlib under the recipe's glue", ("hnswlib", *_GLUE)),
    Peer(
        "model2vec",
        "model2vec and vicinity",
        ("model2vec[distill]:model2vec", "skeletoken", "vicinity", *_GLUE),
        encoders=("model2vec", "student"),
        module="bench.peers.adapters.vicinity",
        note="its static model is distilled from all-MiniLM-L6-v2",
    ),
    Peer(
        "guide-align",
        "Guide-Align as published, written anew",
        ("transformers", "torch", "faiss-cpu:faiss", *_GLUE),
        encoders=("bert-base",),
        duplicates=Duplicates.DIFFLIB,
        note="random weights of BERT-base's size, so it has a cost and no quality; texts of guidelines alone",
    ),
)


def chosen_rows(peers: Sequence[Peer], only: Iterable[str] | None) -> list[Row]:
    """The rows to measure. Raises ValueError for a name that is neither a peer's nor a row's."""
    rows = [Row(peer, encoder) for peer in peers for encoder in peer.encoders]
    if only is None:
        return rows
    names = list(only)
    known = {row.name for row in rows} | {peer.name for peer in peers}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"--only names {', '.join(unknown)}; allowed: {', '.join(row.name for row in rows)}")
    # The name of a peer stands for all of its rows.
    return [row for row in rows if row.name in names or row.peer.name in names]

"""From guidelines to a bundle: vectors, index, measured recall, published in one step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.bundle import (
    COLUMNS,
    ENCODER,
    GUIDELINES,
    INDEX,
    PROJECTION,
    TOKENIZER,
    VECTORS,
    IndexInfo,
    Manifest,
    publish_bundle,
)
from guidealign_engine.config import Thresholds
from guidealign_engine.encoder import Encoder
from guidealign_engine.encoder_files import EncoderFiles
from guidealign_engine.errors import ConfigError
from guidealign_engine.index import KINDS, import_faiss
from guidealign_engine.library import GuidelineRecord, columns_of
from guidealign_engine.query import visible
from guidealign_engine.tokenizer import QueryTokenizer

_FLAT_UP_TO = 1_000
_PQ_UP_TO = 20_000
# FAISS wants 39 vectors for each of the 16 (pq) or 256 (ivf_pq) centroids of a product quantiser.
_FEWEST = {"flat": 1, "hnsw": 1, "pq": 39 * 16, "ivf_pq": 39 * 256}
_POOL = 48
_RECALL_SAMPLE = 500
_RECALL_TARGET = 0.98
_STORES = ("float16", "int8")
_EXAMPLES = ("folded", "each")

Report = Callable[[str], None]


class TextEmbedder(Protocol):
    """Whatever makes the library's vectors: the student itself, or the teacher in the student's space."""

    @property
    def name(self) -> str:
        """Who made the vectors, for the manifest."""
        ...

    def embed_texts(self, texts: Sequence[str], report: Report) -> NDArray[np.float32]:
        """Unit vectors, float32 (texts, dimension)."""
        ...


@dataclass(frozen=True, slots=True)
class StudentEmbedder:
    """The bundle's own encoder."""

    tokenizer: QueryTokenizer
    encoder: Encoder
    name: str = "student"

    def embed_texts(self, texts: Sequence[str], report: Report) -> NDArray[np.float32]:
        """Unit vectors, float32 (texts, dimension)."""
        chunk = 8192
        parts = []
        for start in range(0, len(texts), chunk):
            parts.append(self.encoder.embed(self.tokenizer.encode(list(texts[start : start + chunk]))))
            if len(texts) > chunk:
                report(f"  {min(start + chunk, len(texts))} of {len(texts)} vectors")
        return np.concatenate(parts)


def build_bundle(
    records: Sequence[GuidelineRecord],
    folder: Path,
    *,
    name: str,
    created_by: str,
    encoder_files: EncoderFiles,
    student: StudentEmbedder,
    library_embedder: TextEmbedder,
    index_kind: str | None = None,
    store: str = "float16",
    examples: str = "folded",
    thresholds: Thresholds | None = None,
    report: Report = lambda line: None,
) -> Manifest:
    """Embeds the guidelines and their examples, builds an index and publishes a bundle in `folder`.

    index_kind: None chooses by size; otherwise flat, pq, ivf_pq or hnsw. store: float16 or int8, for exact scores.
    examples: "folded" with the guideline's text into its one vector, or "each" a vector of its own.
    Raises ConfigError for options that do not fit the number of vectors, and for vectors that are not finite.
    """
    if store not in _STORES:
        raise ConfigError(f"store is {store!r}; allowed: {', '.join(_STORES)}")
    if examples not in _EXAMPLES:
        raise ConfigError(f"examples is {examples!r}; allowed: {', '.join(_EXAMPLES)}")
    lines, columns, tags = columns_of(records)
    # Embedded as they are read in a query, so that a text finds itself.
    texts = [visible(text) for record in records for text in (record.entry, *record.examples)]
    text_owners = np.repeat(np.arange(len(records)), [1 + len(record.examples) for record in records]).astype(np.int32)
    report(f"{len(records)} guidelines, {len(texts)} texts embedded by the {library_embedder.name}")
    vectors = _checked_vectors(library_embedder.embed_texts(texts, report), records, text_owners)
    owners = text_owners
    if examples == "folded":
        vectors, owners = folded(vectors, text_owners), np.arange(len(records), dtype=np.int32)

    kind = _choose_kind(index_kind, len(vectors))
    report(f"index of kind {kind}")
    index = _build_index(kind, vectors)
    queries = _sample_queries(texts, text_owners, student)
    info, recall = _tune(index, kind, vectors, owners, queries)
    report(f"recall of the best guideline's vectors among {_POOL} candidates: {recall:.4f}")

    faiss = import_faiss()
    parts = {
        GUIDELINES: lines,
        COLUMNS: _safetensors({**columns, "owners": owners}),
        VECTORS: _safetensors(_stored(vectors, store)),
        TOKENIZER: encoder_files.tokenizer,
        ENCODER: encoder_files.model,
        INDEX: faiss.serialize_index(index).tobytes(),
    }
    if encoder_files.projection is not None:
        parts[PROJECTION] = encoder_files.projection
    manifest = Manifest(
        name=name,
        created_by=created_by,
        guidelines=len(records),
        vectors=len(vectors),
        vectors_by=library_embedder.name,
        encoder=encoder_files.info,
        index=info,
        tags=tags,
        thresholds=thresholds,
    )
    return publish_bundle(folder, manifest, parts)


def folded(vectors: NDArray[np.float32], owners: NDArray[np.int32]) -> NDArray[np.float32]:
    """One unit vector a guideline, float32 (guidelines, dimension), of those of its text, which is first, and examples.

    The text and the mean of the examples weigh the same: prototypes, as of Snell et al. (2017). An index of these is
    several times smaller than one of all vectors, and finds more: no odd example pulls its guideline near.
    """
    firsts = np.flatnonzero(np.diff(owners, prepend=-1))
    entries = vectors[firsts]
    examples = _unit(np.add.reduceat(vectors, firsts, axis=0) - entries)
    return _unit(entries + examples)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit


def _checked_vectors(
    vectors: NDArray[np.float32], records: Sequence[GuidelineRecord], owners: NDArray[np.int32]
) -> NDArray[np.float32]:
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise ConfigError(
            f"guideline {records[owners[bad[0]]].id!r} has a vector that is not finite; the encoder is broken"
        )
    return np.ascontiguousarray(vectors, dtype=np.float32)


def _choose_kind(asked: str | None, vectors: int) -> str:
    if asked is None:
        return "flat" if vectors <= _FLAT_UP_TO else "pq" if vectors <= _PQ_UP_TO else "ivf_pq"
    if asked not in KINDS:
        raise ConfigError(f"index kind is {asked!r}; allowed: {', '.join(KINDS)}")
    if vectors < _FEWEST[asked]:
        raise ConfigError(
            f"index kind {asked} needs at least {_FEWEST[asked]} vectors to be trained, the library has {vectors}; "
            "use flat"
        )
    return asked


def _build_index(kind: str, vectors: NDArray[np.float32]) -> Any:
    faiss = import_faiss()
    dimension = vectors.shape[1]
    if kind == "flat":
        index = faiss.IndexFlatIP(dimension)
    elif kind == "pq":
        index = faiss.index_factory(dimension, f"PQ{dimension // 2}x4fs", faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
    elif kind == "hnsw":
        index = faiss.IndexHNSWFlat(dimension, 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 80
    else:
        lists = int(4 * np.sqrt(len(vectors)))
        index = faiss.index_factory(dimension, f"IVF{lists},PQ{dimension // 8}", faiss.METRIC_INNER_PRODUCT)
        sample = np.random.default_rng(0).permutation(len(vectors))[: 50 * lists]
        index.train(vectors[sample])
    index.add(vectors)
    return index


def _sample_queries(texts: Sequence[str], owners: NDArray[np.int32], student: StudentEmbedder) -> NDArray[np.float32]:
    """Student vectors of stored texts, spread over the library: like requests, near to something and not equal."""
    rows = np.random.default_rng(1).permutation(len(owners))[:_RECALL_SAMPLE]
    return student.embed_texts([texts[row] for row in rows], lambda line: None)


def _tune(
    index: Any, kind: str, vectors: NDArray[np.float32], owners: NDArray[np.int32], queries: NDArray[np.float32]
) -> tuple[IndexInfo, float]:
    """The smallest nprobe (for HNSW: efSearch) at which the candidates hold the six guidelines nearest to a query."""
    wanted = _nearest_guidelines(vectors, owners, queries)
    widths: Sequence[int | None] = (None,)
    if kind in ("ivf_pq", "hnsw"):
        widths = [2**power for power in range(3, 12)]
    info, recall = IndexInfo(kind=kind), 0.0
    for width in widths:
        if width is not None and kind == "ivf_pq":
            index.nprobe = min(width, index.nlist)
        elif width is not None:
            index.hnsw.efSearch = width
        found = owners[index.search(queries, min(_POOL, len(vectors)))[1]]
        recall = float(np.mean([len(six & set(row)) / len(six) for six, row in zip(wanted, found, strict=True)]))
        info = IndexInfo(kind=kind, nprobe=width, recall=round(recall, 4))
        if recall >= _RECALL_TARGET:
            break
    return info, recall


def _nearest_guidelines(
    vectors: NDArray[np.float32], owners: NDArray[np.int32], queries: NDArray[np.float32], count: int = 6
) -> list[set[int]]:
    nearest = []
    for query in queries:
        order = np.argsort(-(vectors @ query), kind="stable")[: count * 64]
        nearest.append(set(list(dict.fromkeys(owners[order].tolist()))[:count]))
    return nearest


def _stored(vectors: NDArray[np.float32], store: str) -> dict[str, NDArray[Any]]:
    if store == "float16":
        return {"vectors": vectors.astype(np.float16)}
    scales = np.maximum(np.abs(vectors).max(axis=1), 1e-12) / 127.0
    return {
        "vectors": np.rint(vectors / scales[:, None]).astype(np.int8),
        "scales": scales.astype(np.float32),
    }


def _safetensors(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    from safetensors.numpy import save

    content: bytes = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return content

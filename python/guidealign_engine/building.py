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
    TOKENS,
    VECTORS,
    Bundle,
    Manifest,
    publish_bundle,
)
from guidealign_engine.config import QueryConfig, Thresholds, WindowConfig
from guidealign_engine.encoder import Encoder, OnnxEncoder
from guidealign_engine.encoder_files import EncoderFiles
from guidealign_engine.errors import ArtifactError, ConfigError
from guidealign_engine.index_tuning import RECALL_TARGET, SearchedLibrary, tune_index
from guidealign_engine.library import GuidelineRecord, columns_of
from guidealign_engine.query import query_texts, visible
from guidealign_engine.tokenizer import QueryTokenizer
from guidealign_engine.windows import cut_into_windows

EXAMPLES_WEIGHT = 2.0
"""What the mean of a guideline's examples weighs beside its text; chosen on development inputs."""

_RECALL_SAMPLE = 500
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

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> StudentEmbedder:
        return cls(QueryTokenizer.from_bundle(bundle), OnnxEncoder.from_bundle(bundle, threads=1))

    @classmethod
    def from_files(cls, files: EncoderFiles, source: Path) -> StudentEmbedder:
        """source: where the files are from, for messages. Raises ArtifactError when they do not belong together."""
        try:
            tokenizer = QueryTokenizer(files.tokenizer.decode(), max_tokens=files.info.max_tokens, extras=files.extras)
        except Exception as error:  # tokenizers raises bare Exception
            raise ArtifactError(f"this is no tokenizer definition: {error}", file=source / TOKENIZER) from error
        if tokenizer.vocabulary != files.info.vocabulary:
            raise ArtifactError(
                f"the tokenizer has {tokenizer.vocabulary} tokens, the encoder {files.info.vocabulary}; "
                "they do not belong together",
                file=source / TOKENIZER,
            )
        encoder = OnnxEncoder(files.model, dimension=files.info.dimension, threads=1, source=source / ENCODER)
        return cls(tokenizer, encoder)

    def embed_queries(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, float32 (queries, dimension), read as an engine reads them; those without a token left out."""
        if not queries:
            return np.empty((0, self.encoder.dimension), dtype=np.float32)
        texts, _ = cut_into_windows(query_texts(list(queries), QueryConfig()), WindowConfig())
        vectors = self.embed_texts(texts, lambda line: None)
        return vectors[vectors.any(axis=1)]

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
    inputs: Mapping[str, Sequence[str]] | None = None,
    thresholds: Thresholds | None = None,
    queries: Sequence[str] = (),
    recall: float = RECALL_TARGET,
    report: Report = lambda line: None,
) -> Manifest:
    """Embeds the guidelines and their examples, builds an index and publishes a bundle in `folder`.

    index_kind: None chooses by size; otherwise flat, pq, ivf_pq, ivf_pq4 or hnsw.
    store: float16 or int8, for exact scores.
    examples: "folded" with the guideline's text into its one vector, or "each" a vector of its own.
    inputs: more inputs of guidelines, by their ids, that are folded as examples are, and are not stored.
    queries: like those that will be asked, to tune the index on; without any, stored texts. recall: what it must reach.
    Raises ConfigError for options that do not fit the number of vectors, for vectors that are not finite, and when no
    index of the kind asked for reaches the recall.
    """
    check_store(store)
    if examples not in _EXAMPLES:
        raise ConfigError(f"examples is {examples!r}; allowed: {', '.join(_EXAMPLES)}")
    if inputs and examples != "folded":
        raise ConfigError(f"examples is {examples!r}; inputs that are not stored can only be folded")
    lines, columns, tags = columns_of(records)
    texts_of = [(record.entry, *record.examples, *(inputs or {}).get(record.id, ())) for record in records]
    # Embedded as they are read in a query, so that a text finds itself.
    texts = [visible(text) for own in texts_of for text in own]
    text_owners = np.repeat(np.arange(len(records)), [len(own) for own in texts_of]).astype(np.int32)
    report(f"{len(records)} guidelines, {len(texts)} texts embedded by the {library_embedder.name}")
    vectors = _checked_vectors(library_embedder.embed_texts(texts, report), records, text_owners)
    owners = text_owners
    if examples == "folded":
        vectors, owners = folded(vectors, text_owners), np.arange(len(records), dtype=np.int32)

    stored = _stored(vectors, store)
    library = SearchedLibrary.of(stored, owners, columns)
    tuned = tune_index(library, _tuning_queries(texts, queries, student), kind=index_kind, target=recall, report=report)
    parts = {
        GUIDELINES: lines,
        COLUMNS: _safetensors({**columns, "owners": owners}),
        VECTORS: _safetensors(stored),
        TOKENIZER: encoder_files.tokenizer,
        ENCODER: encoder_files.model,
        INDEX: tuned.content,
    }
    if encoder_files.projection is not None:
        parts[PROJECTION] = encoder_files.projection
    if encoder_files.tokens is not None:
        parts[TOKENS] = encoder_files.tokens
    manifest = Manifest(
        name=name,
        created_by=created_by,
        guidelines=len(records),
        vectors=len(vectors),
        vectors_by=library_embedder.name,
        encoder=encoder_files.info,
        index=tuned.info,
        tags=tags,
        thresholds=thresholds,
    )
    return publish_bundle(folder, manifest, parts)


def check_store(store: str) -> None:
    """Raises ConfigError for a way to keep vectors that there is not."""
    if store not in _STORES:
        raise ConfigError(f"store is {store!r}; allowed: {', '.join(_STORES)}")


def folded(vectors: NDArray[np.float32], owners: NDArray[np.int32]) -> NDArray[np.float32]:
    """One unit vector a guideline, float32 (guidelines, dimension), of those of its text, which is first, and examples.

    The mean of the examples weighs twice as much as the text: prototypes, as of Snell et al. (2017). An index of these
    is several times smaller than one of all vectors, and finds more: no odd example pulls its guideline near.
    """
    firsts = np.flatnonzero(np.diff(owners, prepend=-1))
    entries = vectors[firsts]
    examples = _unit(np.add.reduceat(vectors, firsts, axis=0) - entries)
    return _unit(entries + EXAMPLES_WEIGHT * examples)


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


def _tuning_queries(texts: Sequence[str], queries: Sequence[str], student: StudentEmbedder) -> NDArray[np.float32]:
    """Student vectors of the queries; without any, of stored texts spread over the library, near to requests."""
    if queries:
        return student.embed_queries(queries)
    rows = np.random.default_rng(1).permutation(len(texts))[:_RECALL_SAMPLE]
    return student.embed_texts([texts[row] for row in rows], lambda line: None)


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

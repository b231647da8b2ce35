"""What is compared: ways to rank the texts of a library for a query.

All are given the same texts: of a query what the engine reads of it, of a record its title, text and examples.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.building import StudentEmbedder, build_bundle, folded
from guidealign_engine.config import QueryConfig
from guidealign_engine.encoder_files import EncoderFiles
from guidealign_engine.engine import Engine
from guidealign_engine.loading import load_engine
from guidealign_engine.offline.evaluation.judged import JudgedLibrary, JudgedQueries
from guidealign_engine.offline.evaluation.ranking import DEPTH, best, nearest
from guidealign_engine.optional_packages import import_optional
from guidealign_engine.query import query_texts

Embed = Callable[[Sequence[str]], NDArray[np.float32]]


class System(Protocol):
    """Ranks a library for each of its query sets."""

    @property
    def name(self) -> str: ...

    def rank(self, library: JudgedLibrary) -> list[NDArray[np.int64]]:
        """One array a query set, int64 (queries, DEPTH): positions best first, -1 where there are no more."""
        ...


class Bm25:
    """BM25 (Robertson and Zaragoza, 2009) as bm25s has it: English stop words, no stemming.

    A record is one document with its examples. Documents that share no word with the query are not found.
    """

    name = "BM25"

    def __init__(self) -> None:
        self._bm25s = import_optional("bm25s", package="bm25s", extra="offline", purpose="ranking by BM25")

    def rank(self, library: JudgedLibrary) -> list[NDArray[np.int64]]:
        documents = self._words(["\n".join(texts) for texts in library.documents])
        index = self._bm25s.BM25()
        if any(documents):
            index.index(documents, show_progress=False)
        return [
            np.stack([self._best(index, words if any(documents) else []) for words in self._words(_asked(queries))])
            for queries in library.query_sets
        ]

    def _words(self, texts: Sequence[str]) -> list[list[str]]:
        found: list[list[str]] = self._bm25s.tokenize(list(texts), return_ids=False, show_progress=False)
        return found

    def _best(self, index: Any, words: list[str]) -> NDArray[np.int64]:
        if not words:
            return np.full(DEPTH, -1, dtype=np.int64)
        scores = index.get_scores(words)
        row: NDArray[np.int64] = best(np.where(scores > 0, scores, -np.inf)[None, :].astype(np.float32))[0]
        return row


@dataclass(frozen=True, slots=True)
class VectorSystem:
    """Exact search: the vectors of a record's texts folded to one, as in a bundle, by inner product with the query's.

    Both sides may come from different encoders, as the library's do in a bundle that a teacher made.
    """

    name: str
    embed_query: Embed
    embed_library: Embed

    def rank(self, library: JudgedLibrary) -> list[NDArray[np.int64]]:
        vectors = self.embed_library([text for texts in library.documents for text in texts])
        records = folded(vectors, library.owners)
        return [nearest(self.embed_query(_asked(queries)), records) for queries in library.query_sets]


@dataclass(frozen=True, slots=True)
class EndToEnd:
    """The whole engine with all thresholds off: query cut, student, index, exact scores.

    Libraries that are no bundle become one in `scratch`, with the index that `bundle build` would choose for them.
    """

    files: EncoderFiles
    student: StudentEmbedder
    embed_library: Embed
    store: str
    scratch: Path
    name: str = "engine"

    def rank(self, library: JudgedLibrary) -> list[NDArray[np.int64]]:
        engine = self.engine_for(library)
        return [rank_by_engine(engine, queries.texts) for queries in library.query_sets]

    def engine_for(self, library: JudgedLibrary) -> Engine:
        if library.bundle is not None:
            return load_engine(library.bundle)
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            build_bundle(
                library.records,
                Path(folder) / "bundle",
                name="evaluated",
                created_by="guidealign build evaluate",
                encoder_files=self.files,
                student=self.student,
                library_embedder=_Given(self.embed_library([text for texts in library.documents for text in texts])),
                store=self.store,
            )
            # An open bundle stays mapped when its folder is gone.
            return load_engine(Path(folder) / "bundle")


def rank_by_engine(engine: Engine, texts: Sequence[str]) -> NDArray[np.int64]:
    """What the engine ranks before anything is selected, int64 (texts, DEPTH)."""
    guidelines = engine.rank_batch(texts).guidelines[:, :DEPTH]
    found = np.full((len(texts), DEPTH), -1, dtype=np.int64)
    found[:, : guidelines.shape[1]] = guidelines
    return found


@dataclass(frozen=True, slots=True)
class _Given:
    """Vectors that were made before, in the order in which a bundle asks for them: record by record."""

    vectors: NDArray[np.float32]
    name: str = "teacher"

    def embed_texts(self, texts: Sequence[str], report: Callable[[str], None]) -> NDArray[np.float32]:
        if len(texts) != len(self.vectors):
            raise ValueError(f"{len(texts)} texts for {len(self.vectors)} vectors")
        return self.vectors


def _asked(queries: JudgedQueries) -> list[str]:
    return query_texts(queries.texts, QueryConfig())

"""A library with queries whose relevant guidelines are known: what every system is measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.library import GuidelineRecord
from guidealign_engine.query import visible


@dataclass(frozen=True, slots=True)
class JudgedQueries:
    """Texts that are asked, and what is relevant to each."""

    name: str
    texts: tuple[str, ...]
    relevance: tuple[Mapping[int, int], ...]
    """One a text: position in the library → relevance, from 1."""

    def sampled(self, limit: int | None, *, seed: int = 0) -> JudgedQueries:
        """At most `limit` of the queries, drawn without replacement and kept in their order; None keeps all."""
        if limit is None or len(self.texts) <= limit:
            return self
        rows = sorted(np.random.default_rng(seed).permutation(len(self.texts))[:limit].tolist())
        return replace(
            self,
            texts=tuple(self.texts[row] for row in rows),
            relevance=tuple(self.relevance[row] for row in rows),
        )


@dataclass(frozen=True, slots=True)
class JudgedLibrary:
    """Guidelines, or other texts, and the query sets that are judged against them."""

    records: tuple[GuidelineRecord, ...]
    query_sets: tuple[JudgedQueries, ...]
    bundle: Path | None = None
    """A bundle of exactly these records; None where the engine has to be built on them."""

    @property
    def documents(self) -> list[list[str]]:
        """What each record is found by, as a query would be read: its title and text, then its examples."""
        return [[visible(text) for text in (entry_of(record), *record.examples)] for record in self.records]

    @property
    def owners(self) -> NDArray[np.int32]:
        """The record of each of the documents' texts, int32 (texts)."""
        counts = [1 + len(record.examples) for record in self.records]
        return np.repeat(np.arange(len(self.records), dtype=np.int32), counts)

    def sampled(self, limit: int | None) -> JudgedLibrary:
        return replace(self, query_sets=tuple(queries.sampled(limit) for queries in self.query_sets))


def entry_of(record: GuidelineRecord) -> str:
    """The record on one line; a judged text may lack the title that a guideline always has."""
    return record.entry if record.title else " ".join(record.text.split())


def positions_of(records: Sequence[GuidelineRecord]) -> dict[str, int]:
    """Position by id."""
    return {record.id: position for position, record in enumerate(records)}

"""Systems side by side on judged libraries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from guidealign_engine.errors import GuidealignError
from guidealign_engine.offline.evaluation.judged import JudgedLibrary
from guidealign_engine.offline.evaluation.metrics import Estimate, estimate, per_query
from guidealign_engine.offline.evaluation.systems import System

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class QualityRow:
    """What one system finds on one query set."""

    set: str
    documents: int
    queries: int
    system: str
    measures: Mapping[str, Estimate]

    def as_dict(self) -> dict[str, Any]:
        head = {"set": self.set, "documents": self.documents, "queries": self.queries, "system": self.system}
        return {**head, **{name: figure.as_dict() for name, figure in self.measures.items()}}


@dataclass(frozen=True, slots=True)
class Quality:
    """Rows in the order of sets, then of systems, and which systems could not be asked about which sets."""

    rows: Sequence[QualityRow]
    not_run: Sequence[Mapping[str, str]]

    def of(self, set: str, system: str) -> QualityRow | None:
        return next((row for row in self.rows if (row.set, row.system) == (set, system)), None)

    def means(self, measure: str) -> dict[str, float]:
        """By system: the plain mean over sets, of systems that were asked about all of them."""
        sets = {row.set for row in self.rows}
        means = {}
        for system in dict.fromkeys(row.system for row in self.rows):
            values = [row.measures[measure].mean for row in self.rows if row.system == system]
            if len(values) == len(sets):
                means[system] = round(float(np.mean(values)), 4)
        return means


def measure_quality(libraries: Sequence[JudgedLibrary], systems: Sequence[System], report: Report) -> Quality:
    """Every system on every query set. A system that cannot rank a library is listed with the reason."""
    rows: list[QualityRow] = []
    not_run: list[dict[str, str]] = []
    for library in libraries:
        names = ", ".join(queries.name for queries in library.query_sets)
        for system in systems:
            started = perf_counter()
            report(f"  {names}: {system.name}")
            try:
                rankings = system.rank(library)
            except GuidealignError as error:
                reason = " ".join(str(error).split())
                not_run += [
                    {"set": queries.name, "system": system.name, "reason": reason} for queries in library.query_sets
                ]
                continue
            for queries, ranking in zip(library.query_sets, rankings, strict=True):
                values = per_query(ranking, queries.relevance)
                measures = {name: estimate(each) for name, each in values.items()}
                rows.append(QualityRow(queries.name, len(library.records), len(queries.texts), system.name, measures))
            report(f"  {names}: {system.name}, {perf_counter() - started:.0f} s")
    order = {queries.name: place for place, queries in enumerate(q for one in libraries for q in one.query_sets)}
    return Quality(sorted(rows, key=lambda row: order[row.set]), not_run)

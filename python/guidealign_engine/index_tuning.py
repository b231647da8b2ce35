"""The cheapest index that finds what exact search finds, as far as it was asked to; measured on queries."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidealign_engine import _native
from guidealign_engine.bundle import INDEX, IndexChoice, IndexInfo
from guidealign_engine.config import RerankConfig, SearchConfig, SelectConfig, check_range
from guidealign_engine.errors import ConfigError
from guidealign_engine.index import CandidateIndex, import_faiss
from guidealign_engine.index_kinds import choose_kind, code_sizes, index_maker, pools, widths
from guidealign_engine.library import native_library

RECALL_TARGET = 0.97
_K = 6
# So many nearest guidelines leave six after near-duplicates are taken out.
_ENOUGH = 1000
_ALL_ALLOWED = np.empty(0, dtype=np.uint8)
_NO_COSTS = np.empty(0, dtype=np.int32)
_TIMED_QUERIES = 200
_BLOCK_BYTES = 1 << 26
_QUERIES_AT_ONCE = 64
# Times that lie closer cannot be told apart on a busy machine: there, fewer bytes are cheaper.
_SAME_TIME = 1.1


@dataclass(frozen=True, slots=True)
class SearchedLibrary:
    """What exact search goes over: `vectors` float32 (vectors, dimension), `owners` int32 (vectors) ascending,
    `priority` float32 (guidelines)."""

    vectors: NDArray[np.float32]
    owners: NDArray[np.int32]
    priority: NDArray[np.float32]
    native: _native.Library | None = None
    """Stored vectors and texts as the kernels read them. With them, recall is that of the guidelines that are shown,
    near-duplicates out; without, that of the nearest."""

    @classmethod
    def of(
        cls, stored: Mapping[str, NDArray[Any]], owners: NDArray[np.int32], columns: Mapping[str, NDArray[Any]]
    ) -> SearchedLibrary:
        """stored: `vectors` float16, or int8 with `scales`, as a bundle keeps them and rerank reads them.
        columns: those of `columns_of`."""
        vectors = stored["vectors"].astype(np.float32)
        if len(stored.get("scales", ())):
            vectors *= stored["scales"][:, None]
        return cls(vectors, owners, columns["priority"], native_library(stored, owners, columns)[0])


@dataclass(frozen=True, slots=True)
class TunedIndex:
    """A serialised FAISS index and what the manifest says of it."""

    content: bytes
    info: IndexInfo


def tune_index(
    library: SearchedLibrary,
    queries: NDArray[np.float32],
    *,
    kind: str | None = None,
    target: float = RECALL_TARGET,
    report: Callable[[str], None] = lambda line: None,
) -> TunedIndex:
    """Tries code sizes, and for each the nprobe (efSearch) that reaches the target, and takes the fastest that does.

    queries: float32 (queries, dimension), of the bundle's encoder. kind: None chooses by size, and falls back to flat
    where no choice reaches the target. target: recall@6 of guidelines after the exact rerank, against exact search.
    Raises ConfigError when there are no queries, and when no choice of a kind that was asked for reaches the target.
    """
    check_range("recall", target, 0.0, 1.0)
    if not len(queries):
        raise ConfigError("there are no queries to tune the index on; give some with at least one known word")
    chosen_kind = choose_kind(kind, len(library.vectors))
    task = _Task(library, queries, exact_guidelines(library, queries), target, report)
    tried, contents = _try_sizes(chosen_kind, task)
    reaching = [choice for choice in tried if choice.recall >= target]
    if not reaching:
        best = max(tried, key=lambda choice: choice.recall)
        if kind is not None:
            raise ConfigError(_out_of_reach(best, target))
        report(f"no {chosen_kind} index reaches recall {target:g}, the best has {best.recall:.4f}: flat is taken")
        flat, contents = _try_sizes("flat", task)
        tried, reaching = [*tried, *flat], flat
    choice = _cheapest(reaching)
    report(f"index {_words(choice)}")
    info = IndexInfo(
        kind=choice.kind,
        nprobe=choice.nprobe,
        recall=choice.recall,
        code_bytes=choice.code_bytes,
        pool=choice.pool,
        target=target,
        queries=len(queries),
        choices=tuple(tried),
    )
    return TunedIndex(contents[choice.code_bytes], info)


def exact_guidelines(library: SearchedLibrary, queries: NDArray[np.float32]) -> NDArray[np.int64]:
    """The six guidelines that would be shown if all were candidates, int64 (queries, up to 6); -1 for none.

    Without texts in the library, the six that rerank would put first.
    """
    firsts = np.flatnonzero(np.diff(library.owners, prepend=-1))
    if library.native is None:
        return _best_guidelines(library, queries, firsts, _K)
    return _shown(library.native, queries, firsts[_best_guidelines(library, queries, firsts, _ENOUGH)])


def _shown(native: _native.Library, queries: NDArray[np.float32], candidates: NDArray[np.int64]) -> NDArray[np.int64]:
    """What rerank and select make of candidates, int64 (queries, 6); -1 where there are fewer."""
    ranked = _native.rerank(native, queries, candidates, RerankConfig().native)
    return _native.select(native, *ranked, _ALL_ALLOWED, _NO_COSTS, None, SelectConfig(k=_K).native)[0].astype(np.int64)


def _best_guidelines(
    library: SearchedLibrary, queries: NDArray[np.float32], firsts: NDArray[np.int64], most: int
) -> NDArray[np.int64]:
    prior = RerankConfig().prior_weight * library.priority
    count = min(most, len(firsts))
    rows = max(1, _BLOCK_BYTES // (4 * len(library.vectors)))
    found = np.empty((len(queries), count), dtype=np.int64)
    for start in range(0, len(queries), rows):
        scores = np.maximum.reduceat(queries[start : start + rows] @ library.vectors.T, firsts, axis=1) + prior
        found[start : start + rows] = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    return found


@dataclass(frozen=True, slots=True)
class _Task:
    """What a choice is measured on."""

    library: SearchedLibrary
    queries: NDArray[np.float32]
    wanted: NDArray[np.int64]
    target: float
    report: Callable[[str], None]

    @property
    def pool(self) -> int:
        return min(SearchConfig().pool_size, len(self.library.vectors))


def _try_sizes(kind: str, task: _Task) -> tuple[list[IndexChoice], dict[int, bytes]]:
    """All that was tried, and the index of each code size."""
    make = index_maker(kind, task.library.vectors, task.report)
    tried, contents = list[IndexChoice](), dict[int, bytes]()
    for code_bytes in code_sizes(kind, task.library.vectors.shape[1]):
        task.report(f"  {kind} index with {code_bytes} bytes a vector")
        index = make(code_bytes)
        content = import_faiss().serialize_index(index).tobytes()
        untried = IndexChoice(
            kind=kind, code_bytes=code_bytes, nprobe=None, index_bytes=len(content), recall=0.0, microseconds=0.0
        )
        choices = [
            choice
            for pool in pools(kind)
            if pool is None or pool < len(task.library.vectors)
            for choice in _try_widths(index, replace(untried, pool=pool), task)
        ]
        tried += choices
        contents[code_bytes] = content
        # With all read, codes of this size lose less than half of what may be lost: larger ones hardly save a list.
        if choices[0].recall >= (1.0 + task.target) / 2:
            break
    return tried, contents


def _try_widths(index: Any, untried: IndexChoice, task: _Task) -> list[IndexChoice]:
    """The widest, then from the narrowest on until one reaches the target."""
    *narrower, widest = widths(untried.kind, index, task.pool)
    tried = [_measured(index, replace(untried, nprobe=widest), task)]
    # Where the widest misses the target, no other can reach it with codes of this size.
    for width in narrower if tried[0].recall >= task.target else ():
        tried.append(_measured(index, replace(untried, nprobe=width), task))
        if tried[-1].recall >= task.target:
            break
    return tried


def _measured(index: Any, choice: IndexChoice, task: _Task) -> IndexChoice:
    candidates = CandidateIndex(index, nprobe=choice.nprobe, threads=1, source=Path(INDEX), pool=choice.pool)
    measured = replace(
        choice,
        recall=round(_recall(candidates, task), 4),
        microseconds=round(_microseconds(candidates, task, exact_scores=choice.pool is not None), 1),
    )
    task.report(f"  {_words(measured)}")
    return measured


def _recall(candidates: CandidateIndex, task: _Task) -> float:
    """Rerank scores candidates exactly, so of the nearest it finds just those that own a candidate."""
    native = task.library.native
    hits = 0
    for start in range(0, len(task.queries), _QUERIES_AT_ONCE):
        rows = slice(start, start + _QUERIES_AT_ONCE)
        vectors = candidates.search(task.queries[rows], task.pool)
        if native is None:
            found = np.where(vectors < 0, -1, task.library.owners[vectors])
        else:
            found = _shown(native, task.queries[rows], vectors)
        wanted = task.wanted[rows]
        hits += int(np.count_nonzero((wanted[:, :, None] == found[:, None, :]).any(axis=2) & (wanted >= 0)))
    return hits / int(np.count_nonzero(task.wanted >= 0))


def _microseconds(candidates: CandidateIndex, task: _Task, *, exact_scores: bool) -> float:
    times, native, config = [], task.library.native, RerankConfig()
    for row in range(min(_TIMED_QUERIES, len(task.queries))):
        query = task.queries[row : row + 1]
        started = time.perf_counter()
        found = candidates.search(query, task.pool)
        if exact_scores and native is not None:
            _native.rerank(native, query, found, config.native)
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1e6


def _cheapest(choices: list[IndexChoice]) -> IndexChoice:
    fastest = min(choice.microseconds for choice in choices)
    alike = [choice for choice in choices if choice.microseconds <= _SAME_TIME * fastest]
    return min(alike, key=lambda choice: (choice.index_bytes, choice.microseconds))


def _out_of_reach(best: IndexChoice, target: float) -> str:
    return (
        f"no {best.kind} index reaches recall {target:g}; the best is {_words(best)}; "
        f"ask for at most {best.recall:g}, or take another kind: flat is exact"
    )


def _words(choice: IndexChoice) -> str:
    lists = f", nprobe {choice.nprobe}"
    width = {"ivf_pq": lists, "ivf_pq4": lists, "hnsw": f", efSearch {choice.nprobe}"}.get(choice.kind, "")
    pool = "" if choice.pool is None else f", {choice.pool} candidates"
    return (
        f"{choice.kind}, {choice.code_bytes} bytes a vector{width}{pool}: "
        f"recall {choice.recall:.4f}, {choice.microseconds:.0f} µs a query"
    )

"""What is lost when the request stands inside of much other text, of which the engine reads a bounded part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from guidealign_engine.engine import Engine
from guidealign_engine.offline.evaluation.judged import JudgedQueries
from guidealign_engine.offline.evaluation.metrics import estimate, per_query
from guidealign_engine.offline.evaluation.systems import rank_by_engine

PADDING_CHARACTERS = 4096
_MEASURE = "recall@6"

Draw = Callable[[], str]


def measure_query_cut(
    engine: Engine, queries: JudgedQueries, harmless: Mapping[str, Sequence[str]], wrappers: Sequence[str]
) -> dict[str, Any]:
    """Recall@6 of the bare inputs, and of the same with text around them, with the drop and its 95 % interval.

    harmless: texts by what they are, of each of which 4 KB are put before, after, or on both sides; wrappers:
    jailbreaks, each whole, that stand before or after the input. What is empty is listed in `not_run`. Draws are
    seeded.
    """
    not_run = {}
    wrapped: dict[str, list[str]] = {}
    for what, texts in harmless.items():
        if not texts:
            not_run[what] = "there is no prompt set of them"
            continue
        draw = _padding(texts)
        wrapped[f"4 KB {what} before"] = [f"{draw()}\n\n{text}" for text in queries.texts]
        wrapped[f"4 KB {what} after"] = [f"{text}\n\n{draw()}" for text in queries.texts]
        wrapped[f"4 KB {what} on both sides"] = [f"{draw()}\n\n{text}\n\n{draw()}" for text in queries.texts]
    if wrappers:
        rows = np.random.default_rng(1).integers(len(wrappers), size=len(queries.texts)).tolist()
        pairs = list(zip(queries.texts, rows, strict=True))
        wrapped["a jailbreak before"] = [f"{wrappers[row]}\n\n{text}" for text, row in pairs]
        wrapped["a jailbreak after"] = [f"{text}\n\n{wrappers[row]}" for text, row in pairs]
    else:
        not_run["wrappers"] = "there is no wrapper prompt set"
    return {"inputs": len(queries.texts), "not_run": not_run, "rows": _rows(engine, queries, wrapped)}


def _rows(engine: Engine, queries: JudgedQueries, wrapped: dict[str, list[str]]) -> list[dict[str, Any]]:
    bare = per_query(rank_by_engine(engine, queries.texts), queries.relevance)[_MEASURE]
    rows: list[dict[str, Any]] = [{"around": "nothing", _MEASURE: estimate(bare).as_dict(), "drop": None}]
    for name, texts in wrapped.items():
        found = per_query(rank_by_engine(engine, texts), queries.relevance)[_MEASURE]
        rows.append({"around": name, _MEASURE: estimate(found).as_dict(), "drop": estimate(bare - found).as_dict()})
    return rows


def _padding(harmless: Sequence[str]) -> Draw:
    """Draws 4 KB of texts in random order, each time others; the last one is cut."""
    rng = np.random.default_rng(0)

    def draw() -> str:
        parts: list[str] = []
        length = 0
        while length < PADDING_CHARACTERS:
            parts.append(harmless[int(rng.integers(len(harmless)))])
            length += len(parts[-1]) + 2
        return "\n\n".join(parts)[:PADDING_CHARACTERS]

    return draw

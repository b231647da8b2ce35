"""What the starter bundle finds: for held-out inputs of library/pairs, and for prompts of others if they are there.

python -m bench.quality                 recall on the held-out inputs, safety guidelines shown by prompt set
python -m bench.quality --json
python -m bench.quality --bundle DIR

`guidealign build evaluate` puts other systems beside it, on more sets, with intervals and pictures.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.prompts import SHARED
from guidealign_engine import Engine, load_engine
from guidealign_engine.offline.evaluation.judged import JudgedQueries
from guidealign_engine.offline.evaluation.metrics import estimate, per_query
from guidealign_engine.offline.evaluation.own_splits import own_library
from guidealign_engine.offline.evaluation.prompt_sets import Role, read_prompt_sets
from guidealign_engine.offline.evaluation.safety import look_at
from guidealign_engine.offline.evaluation.thresholds import shown_by_kind
from guidealign_engine.pairs import read_pairs

_PAIRS = Path(__file__).parents[1] / "library" / "pairs"
_K = 6


def main(arguments: list[str]) -> None:
    options = _options(arguments)
    engine = load_engine(options.bundle)
    pairs = read_pairs([_PAIRS])
    records = [engine.library.record(position) for position in range(len(engine.library))]
    own = {queries.name: queries for queries in own_library(records, pairs).query_sets}
    single = {split: [pair for pair in pairs if pair.split == split and not pair.grades] for split in ("dev", "test")}
    result: dict[str, Any] = {
        "bundle": engine.manifest.name,
        "guidelines": engine.manifest.guidelines,
        "encoder": engine.manifest.encoder.id,
        "recall_at_6": {split: recall(engine, own[split]) for split in single},
        "graded": {"test": graded(engine, own["graded"])},
        "shown_at_threshold": {split: shown_by_kind(engine, chosen) for split, chosen in single.items()},
        "safety_in_top_3": safety_in_top(engine),
    }
    if options.json:
        print(json.dumps(result))
        return
    print(f"bundle {result['bundle']}: {result['guidelines']} guidelines, encoder {result['encoder']}")
    for title in ("recall_at_6", "graded", "shown_at_threshold", "safety_in_top_3"):
        print(f"\n{title.replace('_', ' ')}")
        for name, figures in result[title].items():
            print(f"  {name:24}{'  '.join(f'{key} {_shown(value)}' for key, value in figures.items())}")


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.1%}"


def recall(engine: Engine, queries: JudgedQueries) -> dict[str, float]:
    """Share of the fitting guidelines among the first six, thresholds off, with a 95 % bootstrap interval."""
    figure = estimate(_shares(_served(engine, queries, duplicate_ratio=None), queries))
    return {"inputs": len(queries.texts), "recall": figure.mean, "from": figure.low, "to": figure.high}


def graded(engine: Engine, queries: JudgedQueries) -> dict[str, float]:
    """nDCG@6, grades as gains, and recall@6 of all that fits; thresholds off, near-duplicates left out."""
    ranked = _served(engine, queries, duplicate_ratio=0.5)
    gain = per_query(ranked, queries.relevance)["nDCG@6"]
    return {
        "inputs": len(queries.texts),
        "nDCG@6": float(gain.mean()),
        "recall": float(_shares(ranked, queries).mean()),
    }


def safety_in_top(engine: Engine) -> dict[str, dict[str, float]]:
    """The share of prompts with a safety guideline among the first three, at the thresholds and with all cuts off."""
    sets = read_prompt_sets([str(SHARED)]) if SHARED.is_dir() else []
    seen = [
        look_at(engine, each, lambda texts: [0] * len(texts), "decline")
        for each in sets
        if each.role is not Role.WRAPPER
    ]
    return {
        one.name: {
            "prompts": len(one.shown),
            "at_thresholds": float(one.shown.mean()),
            "cuts_off": float(one.found.mean()),
        }
        for one in seen
    }


def _served(engine: Engine, queries: JudgedQueries, *, duplicate_ratio: float | None) -> NDArray[np.int64]:
    """Positions of what is served, best first, int64 (queries, 6), ending in -1."""
    found = np.full((len(queries.texts), _K), -1, dtype=np.int64)
    retrievals = engine.retrieve_batch(queries.texts, k=_K, min_score=-1.0, duplicate_ratio=duplicate_ratio)
    for row, retrieval in zip(found, retrievals, strict=True):
        row[: len(retrieval.positions)] = retrieval.positions
    return found


def _shares(ranked: NDArray[np.int64], queries: JudgedQueries) -> NDArray[np.float64]:
    """Recall@6 of each query, of as many relevant guidelines as six places can hold."""
    relevant = np.array([len(each) for each in queries.relevance])
    shares: NDArray[np.float64] = per_query(ranked, queries.relevance)["recall@6"] * relevant / np.minimum(_K, relevant)
    return shares


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, help="another bundle than the starter one")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])

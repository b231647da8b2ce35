"""What the starter bundle finds: for held-out inputs of library/pairs, and for prompts of others if they are there.

python -m bench.quality                 recall on the held-out inputs, safety guidelines shown by prompt set
python -m bench.quality --json
python -m bench.quality --bundle DIR
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.prompts import SHARED
from guidealign_engine import Engine, load_engine
from guidealign_engine.pairs import Pair, read_pairs

_PAIRS = Path(__file__).parents[1] / "library" / "pairs"
_NEED_SAFETY = ("do_not_answer_a", "catqa_en", "ailuminate_a")
_NEED_NONE = ("dolly_a", "gsm8k_a", "ifeval", "humaneval")
_LOOK_ALIKES = ("coconot_contrast_dev",)
_TOP = 3


def main(arguments: list[str]) -> None:
    options = _options(arguments)
    engine = load_engine(options.bundle)
    kinds = {record.id: record.kind for record in map(engine.library.record, range(len(engine.library)))}
    labelled = read_pairs([_PAIRS])
    single = {
        split: [pair for pair in labelled if pair.split == split and not pair.grades] for split in ("dev", "test")
    }
    result: dict[str, Any] = {
        "bundle": engine.manifest.name,
        "guidelines": engine.manifest.guidelines,
        "encoder": engine.manifest.encoder.id,
        "recall_at_6": {split: recall(engine, pairs) for split, pairs in single.items()},
        "graded": {"test": graded(engine, [pair for pair in labelled if pair.grades])},
        "shown_at_threshold": {split: shown(engine, pairs, kinds) for split, pairs in single.items()},
        "safety_in_top_3": {
            name: safety_in_top(engine, _prompts(file))
            for name in (*_NEED_SAFETY, *_NEED_NONE, *_LOOK_ALIKES)
            if (file := SHARED / f"{name}.jsonl").is_file()
        },
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


def recall(engine: Engine, pairs: Sequence[Pair]) -> dict[str, float]:
    """Share of the fitting guidelines among the first six, thresholds off, with a 95 % bootstrap interval."""
    wanted = [pair for pair in pairs if pair.positive]
    found = engine.retrieve_batch([pair.input for pair in wanted], min_score=-1.0, duplicate_ratio=None)
    shares = np.array(
        [
            len({guideline.id for guideline in retrieval.guidelines} & set(pair.positive)) / min(6, len(pair.positive))
            for pair, retrieval in zip(wanted, found, strict=True)
        ]
    )
    draws = np.random.default_rng(0).choice(shares, size=(1000, len(shares))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"inputs": len(wanted), "recall": float(shares.mean()), "from": float(low), "to": float(high)}


def graded(engine: Engine, pairs: Sequence[Pair]) -> dict[str, float]:
    """nDCG@6 (Järvelin and Kekäläinen, 2002), grades as gains, and recall@6 of all that fits; thresholds off."""
    found = engine.retrieve_batch([pair.input for pair in pairs], min_score=-1.0)
    gains, recalls = [], []
    for pair, retrieval in zip(pairs, found, strict=True):
        grades = dict(zip(pair.positive, pair.grades, strict=True))
        ranked = [grades.get(guideline.id, 0) for guideline in retrieval.guidelines]
        gains.append(_discounted(ranked) / _discounted(sorted(grades.values(), reverse=True)[:6]))
        recalls.append(sum(map(bool, ranked)) / min(6, len(grades)))
    return {"inputs": len(pairs), "nDCG@6": float(np.mean(gains)), "recall": float(np.mean(recalls))}


def _discounted(gains: Sequence[int]) -> float:
    return sum(gain / float(np.log2(place + 2)) for place, gain in enumerate(gains))


def shown(engine: Engine, pairs: Sequence[Pair], kinds: Mapping[str, str]) -> dict[str, float]:
    """At the bundle's thresholds: the share of inputs shown a guideline of a kind, by whether one fits."""
    found = engine.retrieve_batch([pair.input for pair in pairs])
    figures = {}
    for kind in ("safety", "quality"):
        fits = np.array([any(kinds.get(id) == kind for id in pair.positive) for pair in pairs])
        has = np.array([any(guideline.kind == kind for guideline in each.guidelines) for each in found])
        figures[f"{kind}_found"] = float(has[fits].mean())
        figures[f"{kind}_false_alarms"] = float(has[~fits].mean())
    return figures


def safety_in_top(engine: Engine, prompts: Sequence[str]) -> dict[str, float]:
    """The share of prompts with a safety guideline among the first three, at the thresholds and with all cuts off."""

    def share(min_score: float | None) -> float:
        found = engine.retrieve_batch(prompts, min_score=min_score)
        return float(np.mean([any(g.kind == "safety" for g in each.guidelines[:_TOP]) for each in found]))

    return {"prompts": len(prompts), "at_thresholds": share(None), "cuts_off": share(-1.0)}


def _prompts(file: Path) -> list[str]:
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, help="another bundle than the starter one")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])

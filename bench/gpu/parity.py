"""Whether a GPU gives the CPU's answers: the same guidelines but for those that rounding cannot tell apart."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bench.prompts import load_prompts
from guidealign_engine import Engine, Retrieval, load_engine
from guidealign_engine.bundle import open_bundle
from guidealign_engine.encoder import OnnxEncoder
from guidealign_engine.loading import STARTER_BUNDLE
from guidealign_engine.tokenizer import QueryTokenizer

SCORE_TOLERANCE = 2e-3
"""What float16 vectors and sums in another order may change."""
_LEAST_SHARED = 0.97
_LEAST_COSINE = 0.9995
_SIZES = (1, 3, 8, 64, 200)


def compared(device: str, bundle: Path | None, prompts: list[str]) -> dict[str, Any]:
    """Shares and largest differences over all prompts, in batches of several sizes."""
    cpu, gpu = load_engine(bundle), load_engine(bundle, device=device)
    shared, scores = [], [0.0]
    for size in _SIZES:
        batch = prompts[:size]
        pairs = zip(_all(gpu, batch), _all(cpu, batch), strict=True)
        for ours, core in pairs:
            shared.append(_shared(ours, core))
            scores += _differences(ours, core)
    guided = [guided.prompt for guided in gpu.assemble_batch(prompts)]
    wanted = [guided.prompt for guided in cpu.assemble_batch(prompts)]
    return {
        "device": device,
        "devices": {stage: getattr(gpu.devices, stage) for stage in ("encode", "search", "rerank")},
        "notes": dict(gpu.devices.notes),
        "prompts": len(prompts),
        "shared_of_six": round(float(np.mean(shared)), 4),
        "largest_score_difference": float(max(scores)),
        "least_cosine": _least_cosine(gpu, bundle, prompts),
        "same_messages": round(float(np.mean([left == right for left, right in zip(guided, wanted, strict=True)])), 4),
    }


def verdict(record: dict[str, Any]) -> list[str]:
    """What differs by more than rounding; nothing where the answers agree."""
    wrong = []
    if record["shared_of_six"] < _LEAST_SHARED:
        wrong.append(f"only {record['shared_of_six']:.3f} of the six guidelines are the CPU's")
    if record["largest_score_difference"] > SCORE_TOLERANCE:
        wrong.append(f"a score differs by {record['largest_score_difference']:.2g}, more than {SCORE_TOLERANCE:g}")
    if record["least_cosine"] < _LEAST_COSINE:
        wrong.append(f"a query vector has a cosine of {record['least_cosine']:.5f} to the CPU's")
    return wrong


def _all(engine: Engine, prompts: list[str]) -> list[Retrieval]:
    return list(engine.retrieve_batch(prompts, min_score=-1.0, duplicate_ratio=None))


def _shared(ours: Retrieval, core: Retrieval) -> float:
    """Of the CPU's guidelines those that are found, or are tied with the last that was."""
    if not core.positions:
        return float(not ours.positions)
    found, last = set(ours.positions), min(ours.scores, default=2.0)
    hits = [
        position in found or score <= last + SCORE_TOLERANCE
        for position, score in zip(core.positions, core.scores, strict=True)
    ]
    return float(np.mean(hits))


def _differences(ours: Retrieval, core: Retrieval) -> list[float]:
    by_core = dict(zip(core.positions, core.scores, strict=True))
    return [
        abs(score - by_core[position])
        for position, score in zip(ours.positions, ours.scores, strict=True)
        if position in by_core
    ]


def _least_cosine(engine: Engine, bundle: Path | None, prompts: list[str]) -> float:
    opened = open_bundle(bundle or STARTER_BUNDLE)
    tokens = QueryTokenizer.from_bundle(opened).encode(prompts)
    ours, core = engine._encoder.embed(tokens), OnnxEncoder.from_bundle(opened, threads=1).embed(tokens)
    return round(float((ours * core).sum(axis=1)[tokens.lengths > 0].min()), 6)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu.parity", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--bundle", type=Path, help="the starter bundle without it")
    parser.add_argument("--prompts", type=int, default=400)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    tokenizer = QueryTokenizer.from_bundle(open_bundle(options.bundle or STARTER_BUNDLE))
    prompts = load_prompts(tokenizer.count).short[: options.prompts]
    record = compared(options.device, options.bundle, prompts)
    wrong = verdict(record)
    options.out.write_text(json.dumps({**record, "wrong": wrong}, indent=2) + "\n")
    print(json.dumps(record))
    if wrong:
        sys.exit("error: " + "; ".join(wrong))


if __name__ == "__main__":
    main(sys.argv[1:])

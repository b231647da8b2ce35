"""Resident size over many requests of mixed lengths, batch sizes, options and outputs: flat, or the run fails.

    python -m bench.endurance --requests 1000000
    python -m bench.endurance --requests 200000 --no-queue --clients 1

A request is one call of 1, 8 or 64 prompts. No prompt comes twice, so that nothing kept by text could stay hidden. One
call in 500 is compared with calls of one prompt each. Growth is that of the median resident size of the last fifth
over the median of the first fifth after the warm-up.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from bench.machine import bundle_record, commit_record, machine_record
from bench.prompts import load_prompts
from bench.scenarios import bundle_path
from guidealign_engine import BatchingEngine, TargetTokenizer, load_engine
from guidealign_engine.bundle import TOKENIZER, open_bundle
from guidealign_engine.loading import STARTER_BUNDLE
from guidealign_engine.tokenizer import QueryTokenizer

_MOST_GROWTH = 0.01
_WARM_UP = 0.1
_SAMPLES = 50
_CALLS_PER_CHECK = 500
_SIZES, _SIZE_WEIGHTS = (1, 8, 64), (80, 17, 3)
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

Call = tuple[list[Any], dict[str, Any]]


class Traffic:
    """An endless, seeded mix of calls for one client."""

    def __init__(self, short: Sequence[str], long: Sequence[str], target: TargetTokenizer, seed: int) -> None:
        self._draw = random.Random(seed)
        self._numbers = count()
        self._seed = seed
        self._short, self._long = short, long
        self._options: list[dict[str, Any]] = [
            {},
            {"min_score": -1.0, "placement": "before_last_user"},
            {"k": 3, "kinds": ["safety"]},
            {"max_guideline_tokens": 120, "diversity": 0.3},
            {"output": "text", "chat_format": "chatml"},
            {"output": "token_ids", "target": target, "max_guideline_tokens": 200},
        ]

    def __iter__(self) -> Iterator[Call]:
        draw = self._draw
        while True:
            (size,) = draw.choices(_SIZES, _SIZE_WEIGHTS)
            yield [self._prompt() for _ in range(size)], draw.choice(self._options)

    def _prompt(self) -> str:
        draw = self._draw
        text = draw.choice(self._long if draw.random() < 0.1 else self._short)
        return f"{text[: draw.randint(1, 2 * len(text))]} – {self._seed}.{next(self._numbers)}"


def main(arguments: Sequence[str]) -> None:
    options = _options(arguments)
    machine = machine_record()
    path = bundle_path()
    bundle = open_bundle(Path(path) if path else STARTER_BUNDLE)
    engine = load_engine(path)
    prompts = load_prompts(QueryTokenizer.from_bundle(bundle).count)
    target = TargetTokenizer(bundle.folder / TOKENIZER)
    traffic = [iter(Traffic(prompts.short, prompts.long, target, seed)) for seed in range(options.clients)]
    with ExitStack() as stack:
        asked: Any = stack.enter_context(BatchingEngine(engine)) if options.queue else engine
        measured = run(asked, engine, traffic, options.requests)
    result = {
        "measured_on": datetime.now(UTC).date().isoformat(),
        "command": shlex.join(["python", "-m", "bench.endurance", *arguments]),
        **commit_record(),
        "machine": machine,
        "bundle": bundle_record(engine.manifest),
        "prompts": {"source": prompts.source, "short": len(prompts.short), "long": len(prompts.long)},
        "clients": options.clients,
        "queue": options.queue,
        **measured,
    }
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    print(text, end="")
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")
    if not measured["flat"]:
        sys.exit(f"the resident size grew by {measured['growth']:.2%}; at most {_MOST_GROWTH:.0%} is allowed")


def run(asked: Any, engine: Any, traffic: Sequence[Iterator[Call]], requests: int) -> dict[str, Any]:
    """All requests, in parts, the resident size read after each. Raises AssertionError for a wrong answer."""
    calls = max(1, round(requests / _SAMPLES / len(traffic)))
    samples: list[dict[str, Any]] = []
    begin = time.perf_counter()
    with ThreadPoolExecutor(len(traffic)) as clients:
        for part in range(1, _SAMPLES + 1):
            prompts = sum(clients.map(lambda each: ask(asked, engine, each, calls), traffic))
            gc.collect()
            done = part * calls * len(traffic)
            samples.append({"requests": done, "prompts": prompts, "resident_mb": resident_mb()})
            _show(samples, requests, time.perf_counter() - begin)
    after = [each["resident_mb"] for each in samples if each["requests"] > _WARM_UP * requests]
    fifth = max(1, len(after) // 5)
    first, last = median(after[:fifth]), median(after[-fifth:])
    growth = last / first - 1
    return {
        "requests": samples[-1]["requests"],
        "prompts": sum(each["prompts"] for each in samples),
        "seconds": round(time.perf_counter() - begin, 1),
        "resident_mb_after_warm_up": round(first, 2),
        "resident_mb_at_the_end": round(last, 2),
        "growth": round(growth, 5),
        "flat": growth <= _MOST_GROWTH,
        "resident_mb": [round(each["resident_mb"], 2) for each in samples],
    }


def ask(asked: Any, engine: Any, traffic: Iterator[Call], calls: int) -> int:
    """Asks one call after the other; the number of their prompts."""
    prompts = 0
    for number in range(calls):
        given, options = next(traffic)
        answer = asked.assemble_batch(given, **options)
        prompts += len(answer)
        if number % _CALLS_PER_CHECK == 0:
            _check(engine, given, options, answer)
    return prompts


def _check(engine: Any, given: list[Any], options: dict[str, Any], answer: Any) -> None:
    for prompt, guided in zip(given, answer, strict=True):
        (alone,) = engine.assemble_batch([prompt], **options)
        assert guided.retrieval.positions == alone.retrieval.positions, f"wrong guidelines for {prompt!r}"
        assert list(guided.prompt) == list(alone.prompt), f"wrong prompt for {prompt!r}"


def resident_mb() -> float:
    """Of this process, in megabytes of 10^6 bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * _PAGE_BYTES / 1e6


def _show(samples: Sequence[dict[str, Any]], requests: int, took_s: float) -> None:
    latest = samples[-1]
    print(
        f"{latest['requests']:,} of {requests:,} requests, {latest['requests'] / took_s:,.0f}/s, "
        f"{latest['resident_mb']:.1f} MB",
        file=sys.stderr,
    )


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.endurance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=4, help="threads that ask")
    parser.add_argument("--queue", action=argparse.BooleanOptionalAction, default=True, help="through BatchingEngine")
    parser.add_argument("--out", type=Path, help="result file")
    options = parser.parse_args(arguments)
    for name, least in (("requests", _SAMPLES), ("clients", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name} is {getattr(options, name)}; it must be at least {least}")
    return options


if __name__ == "__main__":
    main(sys.argv[1:])

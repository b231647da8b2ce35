"""Text to vector, one text at a time on one thread."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from time import perf_counter_ns
from typing import Any

import numpy as np

from guidealign_engine.offline.evaluation.systems import Embed

TOKENS = (15, 512)
_TEXTS = 32
_WARM_UP = 5
_FEWEST, _MOST = 24, 400
_ENOUGH_NS = 1_500_000_000

TokenCounter = Callable[[Sequence[str]], list[int]]


def measure_latency(
    encoders: Mapping[str, Embed], inputs: Sequence[str], count_tokens: TokenCounter
) -> list[dict[str, Any]]:
    """By encoder and length: median and 95th percentile of microseconds from text to vector, tokenising included.

    inputs: texts whose words are joined and cut to about 15 and 512 tokens of the bundle's tokenizer. Sentence encoders
    read at most 256 tokens of them. torch is held to one thread while it is measured, the others have one anyway.
    """
    texts = {tokens: texts_of_length(inputs, tokens, count_tokens) for tokens in TOKENS}
    rows = []
    with _one_torch_thread(), _without_collection():
        for name, embed in encoders.items():
            for tokens, chosen in texts.items():
                times = _times_us(embed, chosen)
                p50, p95 = np.quantile(times, [0.5, 0.95])
                rows.append(
                    {
                        "encoder": name,
                        "tokens": tokens,
                        "calls": len(times),
                        "p50_us": round(float(p50), 1),
                        "p95_us": round(float(p95), 1),
                    }
                )
    return rows


def texts_of_length(inputs: Sequence[str], tokens: int, count_tokens: TokenCounter) -> list[str]:
    """32 texts of at most `tokens` tokens and hardly fewer, each from another place in the inputs."""
    words = " ".join(inputs).split()
    texts = []
    for number in range(_TEXTS):
        # A word has a token or more.
        run = list(islice(cycle(words), number * tokens, number * tokens + tokens))
        low, high = 1, len(run)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if count_tokens([" ".join(run[:middle])])[0] <= tokens else (low, middle - 1)
        texts.append(" ".join(run[:low]))
    return texts


def _times_us(embed: Embed, texts: Sequence[str]) -> list[float]:
    for text in texts[:_WARM_UP]:
        embed([text])
    times: list[float] = []
    spent = 0
    for text in cycle(texts):
        started = perf_counter_ns()
        embed([text])
        took = perf_counter_ns() - started
        times.append(took / 1000.0)
        spent += took
        if len(times) >= _MOST or (len(times) >= _FEWEST and spent >= _ENOUGH_NS):
            break
    return times


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _without_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()

"""Real prompts of stated lengths, in an order that never changes."""

from __future__ import annotations

import json
import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

SHORT_TOKENS = 64
LONG_TOKENS = 512

_REPOSITORY = Path(__file__).parents[1]
SHARED = _REPOSITORY.parent / "shared" / "data" / "prompts"
_PAIRS = _REPOSITORY / "library" / "pairs"
_SHORT_FILES = ("do_not_answer_a", "mt_bench", "vicuna_bench", "dolly_a")
_LONG_FILES = ("dolly_a", "jailbreak_inthewild_a")
_LONG_TOLERANCE = 32
_FEWEST_LONG = 64

TokenCounter = Callable[[Sequence[str]], list[int]]


@dataclass(frozen=True, slots=True)
class PromptSet:
    """Prompts to measure with, and where they come from."""

    source: str
    short: list[str]
    """At most 64 tokens each."""
    long: list[str]
    """480 to 544 tokens each."""


def load_prompts(count_tokens: TokenCounter) -> PromptSet:
    """The shared prompt files where they exist, otherwise the inputs of library/pairs."""
    shared = all((SHARED / f"{name}.jsonl").is_file() for name in (*_SHORT_FILES, *_LONG_FILES))
    if shared:
        source = "prompt files " + ", ".join(dict.fromkeys((*_SHORT_FILES, *_LONG_FILES)))
        texts = [text for name in _SHORT_FILES for text in _field(SHARED / f"{name}.jsonl", "text")]
        candidates = [text for name in _LONG_FILES for text in _field(SHARED / f"{name}.jsonl", "text")]
    else:
        source = "inputs of library/pairs"
        texts = [text for file in sorted(_PAIRS.glob("*.jsonl")) for text in _field(file, "input")]
        candidates = []
    short = _shuffled([text for text, tokens in _with_counts(texts, count_tokens) if 0 < tokens <= SHORT_TOKENS])
    return PromptSet(source, short, _long_prompts(candidates, short, count_tokens))


def batches(prompts: Sequence[str], *, size: int, count: int) -> list[list[str]]:
    """`count` batches of `size`, starting over at the end of the prompts."""
    endless = cycle(prompts)
    return [list(islice(endless, size)) for _ in range(count)]


def _long_prompts(candidates: Sequence[str], short: Sequence[str], count_tokens: TokenCounter) -> list[str]:
    long = []
    for text, tokens in _with_counts(candidates, count_tokens):
        if tokens >= LONG_TOKENS - _LONG_TOLERANCE:
            long.append(text if tokens <= LONG_TOKENS + _LONG_TOLERANCE else _cut(text, count_tokens))
    endless = cycle(short)
    while len(long) < _FEWEST_LONG:
        # A short prompt has three tokens or more, so these are always enough.
        long.append(_cut("\n".join(islice(endless, LONG_TOKENS // 3)), count_tokens))
    within = [text for text, tokens in _with_counts(long, count_tokens) if abs(tokens - LONG_TOKENS) <= _LONG_TOLERANCE]
    return _shuffled(within)


def _cut(text: str, count_tokens: TokenCounter) -> str:
    """The start of a text, up to the last word that ends within 512 tokens."""
    words = text.split(" ")
    taken = bisect_right(range(len(words) + 1), LONG_TOKENS, key=lambda end: count_tokens([" ".join(words[:end])])[0])
    return " ".join(words[: taken - 1])


def _field(file: Path, name: str) -> list[str]:
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line)[name] for line in lines]


def _with_counts(texts: Sequence[str], count_tokens: TokenCounter) -> list[tuple[str, int]]:
    return list(zip(texts, count_tokens(texts), strict=True))


def _shuffled(texts: list[str]) -> list[str]:
    """Each text once, in an order that mixes the files."""
    unique = list(dict.fromkeys(texts))
    random.Random(0).shuffle(unique)
    return unique

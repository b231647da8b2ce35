"""Slow, obvious twins of the kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guidealign_engine import _native
from guidealign_engine.library import symbols_of

LANES = 32


@dataclass(frozen=True)
class ToyLibrary:
    """Plain lists; `native` is the same for the kernels."""

    vectors: list[NDArray[np.float32]]
    """one (vectors, dimension) array a guideline, every value one that float16 holds exactly"""
    texts: list[str]
    kinds: list[int]
    priority: list[float]

    @property
    def native(self) -> _native.Library:
        owners = [guideline for guideline, rows in enumerate(self.vectors) for _ in rows]
        encoded = [text.encode() for text in self.texts]
        symbols = symbols_of(np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets_of([len(e) for e in encoded]))
        return _native.Library(
            vectors=np.concatenate(self.vectors).astype(np.float16),
            scales=np.empty(0, dtype=np.float32),
            owners=np.array(owners, dtype=np.int32),
            vector_offsets=offsets_of([len(rows) for rows in self.vectors]),
            priority=np.array(self.priority, dtype=np.float32),
            kinds=np.array(self.kinds, dtype=np.uint8),
            symbols=symbols.values,
            symbol_offsets=symbols.offsets,
            alphabet_size=symbols.alphabet_size,
        )


def offsets_of(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def dot(query: NDArray[np.float32], vector: NDArray[np.float32]) -> np.float32:
    """The order of additions that every kernel promises (engine/src/kernels/dot.hpp)."""
    lanes = [np.float32(0.0)] * LANES
    for place, (left, right) in enumerate(zip(query, vector, strict=True)):
        lanes[place % LANES] = np.float32(lanes[place % LANES] + np.float32(left * right))
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = [np.float32(lanes[i] + lanes[i + half]) for i in range(half)]
    return lanes[0]


def rerank(
    query: NDArray[np.float32], candidates: Sequence[int], library: ToyLibrary, prior_weight: float
) -> list[tuple[int, np.float32]]:
    """(guideline, score), best first, lower guideline first among equals."""
    owners = [guideline for guideline, rows in enumerate(library.vectors) for _ in rows]
    found = {owners[vector] for vector in candidates if vector >= 0}
    scored = []
    for guideline in found:
        best = max(dot(query, vector) for vector in library.vectors[guideline])
        prior = np.float32(np.float32(prior_weight) * np.float32(library.priority[guideline]))
        scored.append((guideline, np.float32(best + prior)))
    return sorted(scored, key=lambda pair: (-pair[1], pair[0]))


def lcs_length(left: str, right: str) -> int:
    """The textbook table."""
    row = [0] * (len(right) + 1)
    for character in left:
        above = row
        row = [0]
        for place, other in enumerate(right):
            row.append(above[place] + 1 if character == other else max(above[place + 1], row[place]))
    return row[-1]


def is_duplicate(left: str, right: str, ratio: float) -> bool:
    return 2 * lcs_length(left, right) >= ratio * (len(left) + len(right))


def risk(
    ranked: Sequence[tuple[int, float]],
    kinds: Sequence[int],
    bias: float,
    weights: Sequence[float],
    temperature: float = 0.0,
) -> float:
    """Logistic in how well each kind fits: the mean of its three best scores or, with a temperature, the smooth mean of
    the best 48; what is missing counts as the lowest score."""
    if not ranked:
        return 0.0
    logit = bias
    read = ranked[:48] if temperature else ranked
    lowest = read[-1][1]
    for kind, weight in enumerate(weights):
        if temperature:
            counted = [score if kinds[guideline] == kind else lowest for guideline, score in read]
            fit = temperature * math.log(sum(math.exp(score / temperature) for score in counted) / len(counted))
        else:
            best = [score for guideline, score in ranked if kinds[guideline] == kind][:3]
            fit = sum(best + [lowest] * (3 - len(best))) / 3
        logit += weight * fit
    return 1 / (1 + math.exp(-logit))


def select(
    ranked: Sequence[tuple[int, float]],
    library: ToyLibrary,
    *,
    k: int,
    min_score: tuple[float, float],
    relative_cut: float,
    duplicate_ratio: float,
    allowed: Sequence[bool],
    costs: Sequence[int],
    budget: int,
) -> list[int]:
    """Guidelines in the order of selection."""
    eligible = [(guideline, np.float32(score)) for guideline, score in ranked if allowed[guideline]]
    taken: list[int] = []
    for guideline, score in eligible:
        best = eligible[0][1]
        if len(taken) == k or (relative_cut > 0 and best > 0 and score < np.float32(relative_cut) * best):
            break
        too_low = score < np.float32(min_score[library.kinds[guideline]])
        repeats = any(is_duplicate(library.texts[guideline], library.texts[other], duplicate_ratio) for other in taken)
        if too_low or repeats or costs[guideline] > budget:
            continue
        taken.append(guideline)
        budget -= costs[guideline]
    return taken

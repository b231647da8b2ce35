"""Which pairs of neighbouring tokens a static student learns a vector for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.batches import TokenBatch

_FEWEST = 15
"""Of a pair's occurrences, so that there is something to learn its vector from."""


def choose_bigrams(
    tokens: TokenBatch, vocabulary: int, most: int, weights: NDArray[np.float64] | None = None
) -> NDArray[np.int32]:
    """int32 (bigrams, 2): at most `most` pairs, those that say most beyond their tokens first.

    tokens: of the training texts, ids below `vocabulary`; weights: float64 (texts,), what each text counts.
    By count times pointwise mutual information (Church and Hanks, 1990), for pairs that come at least 15 times.
    """
    if len(tokens.ids) < 2 or most == 0:
        return np.empty((0, 2), dtype=np.int32)
    by_token = np.repeat(np.ones(len(tokens)) if weights is None else weights, tokens.lengths)
    left, right = tokens.ids[:-1], tokens.ids[1:]
    inside = np.ones(len(left), dtype=bool)
    # The last token of a text and the first of the next are no pair.
    ends = tokens.offsets[1:-1]
    inside[ends[(ends > 0) & (ends < len(tokens.ids))] - 1] = False
    pairs, places = np.unique((left * vocabulary + right)[inside], return_inverse=True)
    counts = np.bincount(places, by_token[:-1][inside])
    alone = np.bincount(tokens.ids, by_token, minlength=vocabulary)
    first, second = pairs // vocabulary, pairs % vocabulary
    information = np.log(counts * alone.sum() / (alone[first] * alone[second]))
    worth = np.where(counts >= _FEWEST, counts * information, 0.0)
    chosen = np.argsort(-worth, kind="stable")[:most]
    chosen = chosen[worth[chosen] > 0.0]
    return np.column_stack([first[chosen], second[chosen]]).astype(np.int32)

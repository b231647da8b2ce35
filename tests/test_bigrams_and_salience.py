"""What a student learns of tokens besides their vectors: which pairs to know, and what a request looks like."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from math import log

import numpy as np
import pytest

from guidealign_engine.batches import TokenBatch
from guidealign_engine.errors import ConfigError
from guidealign_engine.offline.retriever.bigrams import choose_bigrams
from guidealign_engine.offline.retriever.salience import fit_salience
from guidealign_engine.offline.retriever.vocabulary import train_vocabulary
from guidealign_engine.token_extras import TokenExtras
from guidealign_engine.tokenizer import QueryTokenizer

VOCABULARY = 40
THINGS = ["lake", "harbour", "garden", "letter", "engine", "bread", "forest", "river", "market", "roof", "lamp"]
REQUESTS = [f"how do i {verb} the {thing}?" for verb in ("paint", "find", "build", "mend") for thing in THINGS] * 3
PASSAGES = [f"The {thing} was {state} in the old days." for state in ("dark", "loved", "new") for thing in THINGS] * 4


def rows_of(texts: int = 400, seed: int = 4) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    rows = [rng.integers(1, VOCABULARY, size=rng.integers(0, 9)).tolist() for _ in range(texts)]
    # 7 8 stand beside each other far oftener than by chance.
    return [[*row, 7, 8] if place % 3 == 0 else row for place, row in enumerate(rows)]


def batch(rows: list[list[int]]) -> TokenBatch:
    return TokenBatch.of([np.array(row, dtype=np.int64) for row in rows])


def test_the_pairs_that_say_most_come_first() -> None:
    rows = rows_of()
    chosen = [tuple(pair) for pair in choose_bigrams(batch(rows), VOCABULARY, 5).tolist()]
    pairs = Counter(pair for row in rows for pair in pairwise(row))
    alone = Counter(token for row in rows for token in row)
    total = sum(alone.values())
    worth = {
        pair: count * log(count * total / (alone[pair[0]] * alone[pair[1]]))
        for pair, count in pairs.items()
        if count >= 15
    }
    assert chosen[0] == (7, 8)
    assert chosen == sorted((pair for pair in worth if worth[pair] > 0), key=lambda pair: -worth[pair])[:5]


def test_a_text_can_count_more_than_once() -> None:
    rows = [[1, 2]] * 4 + [[3, 4]] * 30
    weights = np.array([5.0] * 4 + [1.0] * 30)
    assert choose_bigrams(batch(rows), VOCABULARY, 9).tolist() == [[3, 4]]
    assert sorted(choose_bigrams(batch(rows), VOCABULARY, 9, weights).tolist()) == [[1, 2], [3, 4]]


@pytest.mark.parametrize("rows", [[], [[]], [[5]], [[1], [2]] * 20])
def test_without_neighbours_there_are_no_bigrams(rows: list[list[int]]) -> None:
    assert choose_bigrams(batch(rows), VOCABULARY, 10).shape == (0, 2)
    assert choose_bigrams(batch(rows_of()), VOCABULARY, 0).shape == (0, 2)


def test_salience_tells_requests_from_what_they_are_about() -> None:
    definition = train_vocabulary([*REQUESTS, *PASSAGES], 300).to_str()
    plain = QueryTokenizer(definition, max_tokens=64)
    bigrams = choose_bigrams(plain.encode(REQUESTS), plain.vocabulary, 20)
    reader = QueryTokenizer(definition, max_tokens=64, extras=TokenExtras(bigrams))
    size = plain.vocabulary + len(bigrams)
    salience = fit_salience(reader, size, REQUESTS, PASSAGES)
    assert salience.shape == (size,)
    request, passage = (
        salience[reader.encode([text]).ids].sum()
        for text in ("how do i sell the lake?", "The lake was cold in winter.")
    )
    assert request > 0 > passage


def test_too_few_texts_are_refused() -> None:
    reader = QueryTokenizer(train_vocabulary([*REQUESTS, *PASSAGES], 300).to_str(), max_tokens=64)
    with pytest.raises(ConfigError, match="there are 3 windows of passages; at least 100 are needed"):
        fit_salience(reader, reader.vocabulary, REQUESTS, PASSAGES[:3])
    with pytest.raises(ConfigError, match="there are 0 requests; at least 100"):
        fit_salience(reader, reader.vocabulary, ["x" * 401], PASSAGES)

"""The native tokeniser against Hugging Face tokenizers, which it stands in for."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import toy
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from guidealign_engine.batches import TokenBatch
from guidealign_engine.loading import STARTER_BUNDLE
from guidealign_engine.tokenizer import QueryTokenizer
from guidealign_engine.wordpiece import native_wordpiece

STARTER: dict[str, Any] = json.loads((STARTER_BUNDLE / "tokenizer.json").read_text(encoding="utf-8"))
BERT: dict[str, Any] = {
    **STARTER,
    "normalizer": {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": True,
    },
}
DEFINITIONS = {"starter": STARTER, "bert": BERT}
# Words that people type, with all that parts them; and any ASCII at all, controls included.
WORDS = st.sampled_from(
    ["How", "do", "I", "unlock", "iPhone's", "wi-fi", "C++", "[UNK]", "[PAD]", "##ing", "don't", "x" * 70, "KeyError:"]
)
SENTENCES = st.lists(WORDS, max_size=12).map(" ".join)
ASCII = st.text(st.characters(max_codepoint=127), max_size=80)


def library(definition: dict[str, Any]) -> Tokenizer:
    tokenizer = Tokenizer.from_str(json.dumps(definition))
    tokenizer.encode_special_tokens = True
    return tokenizer


def library_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


@pytest.fixture(scope="module", params=DEFINITIONS)
def definition(request: pytest.FixtureRequest) -> dict[str, Any]:
    return DEFINITIONS[request.param]


@settings(max_examples=400, deadline=None)
@given(texts=st.lists(st.one_of(SENTENCES, ASCII), max_size=4), max_tokens=st.sampled_from([1, 5, 512]))
def test_ascii_text_gets_the_ids_of_the_library(definition: dict[str, Any], texts: list[str], max_tokens: int) -> None:
    native = native_wordpiece(definition)
    assert native is not None
    ids, offsets = native.encode(texts, max_tokens)
    oracle = library(definition)
    expected = [library_ids(oracle, text)[:max_tokens] for text in texts]
    assert [row.tolist() for row in TokenBatch(ids, offsets).rows()] == expected


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(st.one_of(SENTENCES, st.text(max_size=30)), max_size=5))
def test_a_batch_of_any_scripts_gets_the_ids_of_the_library(texts: list[str]) -> None:
    found = QueryTokenizer(json.dumps(STARTER), max_tokens=512).encode(texts)
    oracle = library(STARTER)
    assert len(found) == len(texts)
    assert [row.tolist() for row in found.rows()] == [library_ids(oracle, text) for text in texts]


def test_rows_are_filled_in_where_a_batch_has_none() -> None:
    batch = TokenBatch(np.array([1, 2, 5]), np.array([0, 0, 2, 2, 3, 3]))
    filled = batch.with_rows({4: np.array([6]), 0: np.array([7, 8, 9]), 2: np.array([], dtype=np.int64)})
    assert [row.tolist() for row in filled.rows()] == [[7, 8, 9], [1, 2], [], [5], [6]]
    assert [row.tolist() for row in batch.rows()] == [[], [1, 2], [], [5], []]
    nothing = TokenBatch(np.empty(0, dtype=np.int64), np.array([0, 0, 0]))
    assert [row.tolist() for row in nothing.with_rows({1: np.array([2]), 0: np.array([1])}).rows()] == [[1], [2]]


def test_real_prompts_get_the_ids_of_the_library(definition: dict[str, Any]) -> None:
    texts = [text for guideline in toy.GUIDELINES for text in (guideline.entry, *guideline.examples) if text.isascii()]
    assert len(texts) > 80
    ids, _ = native_wordpiece(definition).encode(texts, 512)  # type: ignore[union-attr]
    oracle = library(definition)
    assert ids.tolist() == [token for text in texts for token in library_ids(oracle, text)]


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": None},
        {"normalizer": {"type": "NFKC"}},
        {"normalizer": {**BERT["normalizer"], "lowercase": False}},
        {"normalizer": {**BERT["normalizer"], "clean_text": False}},
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"pre_tokenizer": None},
        {"model": {**STARTER["model"], "continuing_subword_prefix": "@@"}},
        {"model": {**STARTER["model"], "max_input_chars_per_word": 1000}},
        {"model": {**STARTER["model"], "vocab": {"[PAD]": 0, "[UNK]": 2}}},
        {"added_tokens": [{"id": 0, "content": "lock", "special": False}]},
    ],
)
def test_other_definitions_are_left_to_the_library(change: dict[str, Any]) -> None:
    assert native_wordpiece({**STARTER, **change}) is None


def test_a_text_that_is_not_ascii_is_refused_by_the_extension() -> None:
    native = native_wordpiece(STARTER)
    assert native is not None
    for text in ("naïve", 3):
        with pytest.raises(ValueError, match="a text is no ASCII string"):
            native.encode([text], 5)  # type: ignore[list-item]

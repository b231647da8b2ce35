"""How much each token speaks for a request, learned from requests and from texts that ask for nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from guidealign_engine.batches import TokenBatch
from guidealign_engine.config import WindowConfig
from guidealign_engine.errors import ConfigError
from guidealign_engine.tokenizer import QueryTokenizer
from guidealign_engine.windows import cut_into_windows

_FEWEST = 100
_INVERSE_RIDGE = 30.0
_STEPS = 300


def fit_salience(
    tokenizer: QueryTokenizer, size: int, requests: Sequence[str], passages: Sequence[str]
) -> NDArray[np.float32]:
    """float32 (size,), one a token and bigram: the weights of a logistic regression of "is a request".

    A text counts by its tokens over the square root of their number, as `choose_windows` adds them up; both classes
    weigh the same. Passages are cut into windows as a long prompt is; of the requests those are read that are one.
    Raises ConfigError when there are fewer than 100 of either.
    """
    config = WindowConfig()
    whole = [text for text in requests if len(text) <= config.characters]
    windows, _ = cut_into_windows(list(passages), config)
    for name, texts in (("requests", whole), ("windows of passages", windows)):
        if len(texts) < _FEWEST:
            raise ConfigError(f"there are {len(texts)} {name}; at least {_FEWEST} are needed to tell them apart")
    tokens = tokenizer.encode([*whole, *windows])
    is_request = np.arange(len(tokens)) < len(whole)
    model = LogisticRegression(C=_INVERSE_RIDGE, class_weight="balanced", max_iter=_STEPS)
    weights: NDArray[np.float32] = model.fit(_counts(tokens, size), is_request).coef_[0].astype(np.float32)
    return weights


def _counts(tokens: TokenBatch, size: int) -> csr_matrix:
    """How often each token is in each text, over the square root of the text's tokens; (texts, size)."""
    lengths = tokens.lengths
    rows = np.repeat(np.arange(len(tokens)), lengths)
    weights = np.repeat(1.0 / np.sqrt(np.maximum(lengths, 1)), lengths)
    return csr_matrix((weights, (rows, tokens.ids)), shape=(len(tokens), size))

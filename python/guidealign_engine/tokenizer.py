"""Query texts to token ids: natively for ASCII, by a Hugging Face tokenizer otherwise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from guidealign_engine import _native
from guidealign_engine.batches import TokenBatch
from guidealign_engine.bundle import MANIFEST, TOKENIZER, TOKENS, Bundle
from guidealign_engine.errors import ArtifactError
from guidealign_engine.token_extras import TokenExtras
from guidealign_engine.wordpiece import native_wordpiece


class QueryTokenizer:
    """Tokenises queries for the encoder."""

    def __init__(self, definition: str, *, max_tokens: int, extras: TokenExtras | None = None) -> None:
        self._tokenizer = Tokenizer.from_str(definition)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        # What looks like a control token in a prompt is text.
        self._tokenizer.encode_special_tokens = True
        self._native = native_wordpiece(json.loads(definition))
        self._max_tokens = max_tokens
        extras = extras or TokenExtras()
        self.salience = extras.salience
        """float32 (vocabulary + bigrams), how much a token speaks for a request; empty where that is not known"""
        self._bigrams = _native.Bigrams(extras.bigrams, first_id=self.vocabulary) if len(extras.bigrams) else None

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> QueryTokenizer:
        """Raises ArtifactError when the tokenizer is not the encoder's."""
        file = bundle.folder / TOKENIZER
        info = bundle.manifest.encoder
        arrays = bundle.arrays(TOKENS) if TOKENS in bundle.manifest.parts else {}
        extras = TokenExtras.of(arrays, info, bundle.folder / TOKENS)
        try:
            tokenizer = cls(bundle.read(TOKENIZER).decode(), max_tokens=info.max_tokens, extras=extras)
        except Exception as error:  # tokenizers raises bare Exception
            raise ArtifactError(f"this is no tokenizer definition: {error}", file=file) from error
        expected = info.vocabulary
        if tokenizer.vocabulary != expected:
            raise ArtifactError(
                f"the tokenizer has {tokenizer.vocabulary} tokens, the encoder {expected}; they do not belong together",
                file=Path(bundle.folder / MANIFEST),
                field="encoder.vocabulary",
            )
        return tokenizer

    @property
    def vocabulary(self) -> int:
        size: int = self._tokenizer.get_vocab_size()
        return size

    def encode(self, texts: list[str]) -> TokenBatch:
        """Token ids of each text, at most `max_tokens`, and behind them the ids of its bigrams."""
        tokens = self._tokens(texts)
        return tokens if self._bigrams is None else TokenBatch(*self._bigrams.append(tokens.ids, tokens.offsets))

    def _tokens(self, texts: list[str]) -> TokenBatch:
        if self._native is None:
            return TokenBatch.of([self._library_ids(text) for text in texts])
        if all(map(str.isascii, texts)):
            return TokenBatch(*self._native.encode(texts, self._max_tokens))
        found = TokenBatch(*self._native.encode([text if text.isascii() else "" for text in texts], self._max_tokens))
        others = {row: self._library_ids(text) for row, text in enumerate(texts) if not text.isascii()}
        return found.with_rows(others)

    def _library_ids(self, text: str) -> NDArray[np.int64]:
        # A batch of one stays on this thread; a larger one would spread over the process-wide pool of tokenizers.
        (encoding,) = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)
        return np.array(encoding.ids[: self._max_tokens], dtype=np.int64)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, uncut."""
        return [len(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

"""Query texts to token ids, by a Hugging Face tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from guidealign_engine.bundle import MANIFEST, TOKENIZER, Bundle
from guidealign_engine.errors import ArtifactError


class QueryTokenizer:
    """Tokenises queries for the encoder."""

    def __init__(self, definition: str, *, max_tokens: int) -> None:
        self._tokenizer = Tokenizer.from_str(definition)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        # What looks like a control token in a prompt is text.
        self._tokenizer.encode_special_tokens = True
        self._max_tokens = max_tokens

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> QueryTokenizer:
        """Raises ArtifactError when the tokenizer is not the encoder's."""
        file = bundle.folder / TOKENIZER
        try:
            tokenizer = cls(bundle.read(TOKENIZER).decode(), max_tokens=bundle.manifest.encoder.max_tokens)
        except Exception as error:  # tokenizers raises bare Exception
            raise ArtifactError(f"this is no tokenizer definition: {error}", file=file) from error
        expected = bundle.manifest.encoder.vocabulary
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

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, at most `max_tokens`."""
        # A batch of one stays on this thread. A larger one spreads over the process-wide pool of tokenizers, which for
        # a few short texts cost more than it brought: two engine threads were slower with it than without.
        encode = self._tokenizer.encode_batch_fast
        encodings = [encode([text], add_special_tokens=False)[0] for text in texts]
        return [encoding.ids[: self._max_tokens] for encoding in encodings]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, uncut."""
        return [len(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

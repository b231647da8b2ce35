"""The tokenizer of the model that will read the prompt, for token ids and exact token budgets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from guidealign_engine.chat import ChatFormat, choose_chat_format
from guidealign_engine.errors import ArtifactError
from guidealign_engine.half_pairs import without_half_pairs


class TargetTokenizer:
    """A Hugging Face tokenizer, with a chat format if conversations are to become token ids.

    Text of users and guidelines never becomes a special token; only the chat format's own text may.
    """

    def __init__(self, file: str | Path, *, chat_format: str | ChatFormat | None = None) -> None:
        """Raises ArtifactError when the file is no tokenizer, ConfigError for an unknown chat format."""
        path = Path(file)
        try:
            definition = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ArtifactError(f"the tokenizer cannot be read: {error.strerror}", file=path) from error
        except UnicodeDecodeError as error:
            raise ArtifactError(f"this is no tokenizer definition: {error}", file=path) from error
        try:
            self._plain = Tokenizer.from_str(definition)
            self._control = Tokenizer.from_str(definition)
        except Exception as error:  # tokenizers raises bare Exception
            raise ArtifactError(f"this is no tokenizer definition: {error}", file=path) from error
        for tokenizer in (self._plain, self._control):
            tokenizer.no_padding()
            tokenizer.no_truncation()
        self._plain.encode_special_tokens = True
        self.chat_format = choose_chat_format(chat_format)

    def encode(self, text: str) -> list[int]:
        """Ids of text that somebody wrote: no special tokens, whatever it says."""
        ids: list[int] = self._plain.encode(without_half_pairs(text), add_special_tokens=False).ids
        return ids

    def encode_many(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """As `encode`, for many texts at once."""
        encodings = self._plain.encode_batch_fast(
            [without_half_pairs(text) for text in texts], add_special_tokens=False
        )
        return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]

    def encode_control(self, text: str) -> list[int]:
        """Ids of the chat format's own text, with special tokens."""
        ids: list[int] = self._control.encode(text, add_special_tokens=False).ids
        return ids

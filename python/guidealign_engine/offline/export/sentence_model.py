"""A sentence-transformers model as the exporter needs it: the model, its tokenizer, and the markers around a text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Transformer
from tokenizers import Tokenizer

from guidealign_engine.errors import ArtifactError, ConfigError
from guidealign_engine.offline.retriever.teacher import SHIPPED_TEACHER, TUNED_TEACHER, find_teacher
from guidealign_engine.offline.retriever.tuned_teacher import TunedTeacher

QUERY_TOKENS = 512
"""Tokens that an engine reads of a request, without markers."""


@dataclass(frozen=True, slots=True)
class Markers:
    """Tokens that the model expects around those of a text, and the one that fills a batch."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    padding: int

    @property
    def count(self) -> int:
        return len(self.before) + len(self.after)


@dataclass(frozen=True, slots=True)
class SentenceModel:
    """A model on the CPU that reads `max_tokens` of a text, markers included, and takes no text for a marker."""

    name: str
    model: SentenceTransformer
    tokenizer: Tokenizer
    markers: Markers
    max_tokens: int

    @classmethod
    def open(cls, name: str, *, max_tokens: int | None = None) -> SentenceModel:
        """A path, a name, or a folder of `guidealign build teacher`. Raises what `of` raises, and ArtifactError."""
        tuned = TunedTeacher(SHIPPED_TEACHER if name == TUNED_TEACHER else Path(name))
        base = find_teacher(tuned.base() if tuned.exists else name)
        try:
            model = SentenceTransformer(base, device="cpu")
        except Exception as error:  # hub, transformers and safetensors each raise classes of their own
            raise ArtifactError(
                f"sentence-transformers cannot open this model: {error}; give a model's path or name", file=name
            ) from error
        if tuned.exists:
            tuned.apply(model)
        return cls.of(model, name, max_tokens=max_tokens)

    @classmethod
    def of(cls, model: SentenceTransformer, name: str, *, max_tokens: int | None = None) -> SentenceModel:
        """max_tokens: None takes what the model is set to.

        Raises ArtifactError for a model that is no transformer with a fast tokenizer, ConfigError for a max_tokens
        beyond the positions that the model has.
        """
        tokenizer = _tokenizer(model, name)
        model.tokenizer.split_special_tokens = True
        markers = _markers(tokenizer, name, model.prompts.get(model.default_prompt_name or "", ""), model.tokenizer)
        model.max_seq_length = _limit(model, markers, max_tokens)
        return cls(name, model.eval(), tokenizer, markers, model.max_seq_length)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """What sentence-transformers makes of the texts: unit vectors, float32 (texts, dimension)."""
        vectors: NDArray[np.float32] = self.model.encode(
            list(texts), batch_size=64, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )
        return vectors.astype(np.float32)


def _tokenizer(model: SentenceTransformer, name: str) -> Tokenizer:
    first = model[0]
    if not isinstance(first, Transformer):
        raise ArtifactError(
            f"the model begins with {type(first).__name__}; only a transformer over text can be exported", file=name
        )
    if first.tokenizer is None or not first.tokenizer.is_fast:
        raise ArtifactError(
            "the model has no tokenizer.json that an engine could read; save it with a fast tokenizer", file=name
        )
    tokenizer: Tokenizer = Tokenizer.from_str(first.tokenizer.backend_tokenizer.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    rows = first.model.get_input_embeddings().weight.shape[0]
    if not 0 < tokenizer.get_vocab_size() <= rows:
        raise ArtifactError(
            f"the tokenizer has {tokenizer.get_vocab_size()} tokens, the model {rows}; they do not belong together",
            file=name,
        )
    return tokenizer


def _markers(tokenizer: Tokenizer, name: str, prompt: str, settings: object) -> Markers:
    """Read off a text with and without them; a prompt that the model puts before each text counts as markers too."""
    text = "a"
    plain = tokenizer.encode(text, add_special_tokens=False).ids
    marked = tokenizer.encode(prompt + text, add_special_tokens=True).ids
    for start in range(len(marked) - len(plain), -1, -1):
        if plain and marked[start : start + len(plain)] == plain:
            padding = getattr(settings, "pad_token_id", None)
            return Markers(tuple(marked[:start]), tuple(marked[start + len(plain) :]), int(padding or 0))
    raise ArtifactError(
        f"the tokenizer makes {json.dumps(marked)} of {text!r} with markers and {json.dumps(plain)} without; "
        "only markers around a text can be exported",
        file=name,
    )


def _limit(model: SentenceTransformer, markers: Markers, asked: int | None) -> int:
    own = model.max_seq_length or QUERY_TOKENS
    positions = getattr(model[0].config, "max_position_embeddings", None) or own
    limit = min(asked or own, QUERY_TOKENS + markers.count)
    if not markers.count < limit <= positions:
        raise ConfigError(
            f"max_tokens is {limit}; it must lie above the {markers.count} markers that surround a text, and not above "
            f"the {positions} positions that the model has"
        )
    return int(limit)

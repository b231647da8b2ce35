"""The native tokeniser, for the tokenizer definitions that it can stand in for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guidealign_engine import _native


def native_wordpiece(definition: Mapping[str, Any]) -> _native.WordPiece | None:
    """A tokeniser that gives the same ids for ASCII text as the definition, tokenizer.json as read; None without one.

    It stands in for WordPiece models that lower-case and split words as BERT does, which most retrieval encoders are.
    """
    model = definition.get("model") or {}
    normaliser = definition.get("normalizer") or {}
    if (
        model.get("type") != "WordPiece"
        or model.get("continuing_subword_prefix") != "##"
        or (definition.get("pre_tokenizer") or {}).get("type") != "BertPreTokenizer"
        or not _lower_cases(normaliser)
        # A special token in a prompt is text (see tokenizer.py); any other added token would be found in text.
        or any(not token.get("special") for token in definition.get("added_tokens") or ())
    ):
        return None
    ids: Mapping[str, int] = model["vocab"]
    pieces = sorted(ids, key=ids.__getitem__)
    if [ids[piece] for piece in pieces] != list(range(len(pieces))) or model.get("unk_token") not in ids:
        return None
    try:
        return _native.WordPiece(
            pieces,
            unknown=ids[model["unk_token"]],
            max_word_characters=model["max_input_chars_per_word"],
            drops_controls=normaliser["type"] == "BertNormalizer",
        )
    except ValueError:
        # Words of over 256 characters, or an empty piece: rare enough to leave to the library.
        return None


def _lower_cases(normaliser: Mapping[str, Any]) -> bool:
    if normaliser.get("type") == "BertNormalizer":
        return normaliser.get("lowercase") is True and normaliser.get("clean_text") is True
    return normaliser.get("type") == "Lowercase"

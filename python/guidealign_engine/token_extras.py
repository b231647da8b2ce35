"""What an encoder knows of tokens beyond its tokenizer: pairs with a vector of their own, and how salient each is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from guidealign_engine.bundle import MANIFEST, EncoderInfo
from guidealign_engine.errors import ArtifactError


def _no_bigrams() -> NDArray[np.int32]:
    return np.empty((0, 2), dtype=np.int32)


def _no_salience() -> NDArray[np.float32]:
    return np.empty(0, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class TokenExtras:
    """Either may be empty."""

    bigrams: NDArray[np.int32] = field(default_factory=_no_bigrams)
    """int32 (bigrams, 2): pairs of token ids; bigram i has the id after the vocabulary's last by i + 1."""
    salience: NDArray[np.float32] = field(default_factory=_no_salience)
    """float32 (vocabulary + bigrams): how much a token speaks for a request, against text that a request is about."""

    @property
    def is_empty(self) -> bool:
        return not len(self.bigrams) and not len(self.salience)

    def to_bytes(self) -> bytes:
        """The safetensors part that `of` reads."""
        content: bytes = save({"bigrams": self.bigrams, "salience": self.salience})
        return content

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], info: EncoderInfo, file: Path) -> TokenExtras:
        """What a safetensors part holds. Raises ArtifactError for arrays that do not fit the manifest's encoder."""
        extras = cls(arrays.get("bigrams", _no_bigrams()), arrays.get("salience", _no_salience()))
        if extras.bigrams.dtype != np.int32 or extras.bigrams.shape != (info.bigrams, 2):
            raise ArtifactError(
                f"the file has bigrams {extras.bigrams.dtype} {extras.bigrams.shape}, the manifest says int32 "
                f"{(info.bigrams, 2)}",
                file=file.with_name(MANIFEST),
                field="encoder.bigrams",
            )
        if info.bigrams and not 0 <= extras.bigrams.min() <= extras.bigrams.max() < info.vocabulary:
            raise ArtifactError(
                f"a bigram has a token outside the vocabulary of {info.vocabulary}", file=file, field="bigrams"
            )
        size = info.vocabulary + info.bigrams
        if extras.salience.dtype != np.float32 or extras.salience.shape not in ((0,), (size,)):
            raise ArtifactError(
                f"salience is {extras.salience.dtype} {extras.salience.shape}; it must be float32 ({size},), one for "
                "each token and bigram",
                file=file,
                field="salience",
            )
        if not np.isfinite(extras.salience).all():
            raise ArtifactError("salience must be finite", file=file, field="salience")
        return extras

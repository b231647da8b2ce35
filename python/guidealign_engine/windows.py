"""Long prompts in windows: each is searched for on its own, and the likeliest to be the request count most."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guidealign_engine import _native
from guidealign_engine.batches import RankedBatch, TokenBatch
from guidealign_engine.config import WindowConfig
from guidealign_engine.query import FOLDED_AT_ONCE, visible

_PARAGRAPH_END = re.compile(r"\n[^\S\n]*\n\s*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")


@dataclass(frozen=True, slots=True)
class Windows:
    """Which texts of a batch are windows of which prompt: prompt i has offsets[i] to offsets[i + 1]."""

    offsets: NDArray[np.int64]
    """(prompts + 1)"""
    penalties: NDArray[np.float32]
    """(windows) what each one's scores lose"""


def cut_into_windows(texts: list[str], config: WindowConfig) -> tuple[list[str], NDArray[np.int64] | None]:
    """Every text in its windows, end to end, with the offset of each text's; None where no text is long.

    A text of up to `characters` is one window. In a longer one each paragraph is, or as many of its sentences as fit.
    """
    if max(map(len, texts), default=0) <= min(config.characters, FOLDED_AT_ONCE):
        return texts, None
    windows: list[str] = []
    offsets = [0]
    for text in texts:
        own = [text] if len(text) <= config.characters else list(_windows_of(text, config.characters)) or [text]
        windows += own if text.isascii() else _read(own, config)
        offsets.append(len(windows))
    return windows, np.array(offsets, dtype=np.int64)


def _read(windows: list[str], config: WindowConfig) -> list[str]:
    """Windows as a reader sees them, without those in the middle that would take too long."""
    others = [place for place, window in enumerate(windows) if not window.isascii()]
    half = config.most_other // 2
    left_out = set(others[half:-half])
    return [visible(window)[: config.characters] for place, window in enumerate(windows) if place not in left_out]


def _windows_of(text: str, most: int) -> Iterator[str]:
    for paragraph in _PARAGRAPH_END.split(text):
        if len(paragraph) > most:
            yield from _packed(_SENTENCE_END.split(paragraph), most)
        elif paragraph.strip():
            yield paragraph


def _packed(sentences: Sequence[str], most: int) -> Iterator[str]:
    """Sentences that follow each other, as many as fit; one that does not fit is cut."""
    window = ""
    for sentence in sentences:
        if window and len(window) + 1 + len(sentence) > most:
            yield window
            window = ""
        whole = len(sentence) - len(sentence) % most if len(sentence) > most else 0
        yield from (sentence[start : start + most] for start in range(0, whole, most))
        rest = sentence[whole:]
        window = f"{window} {rest}" if window else rest
    if window.strip():
        yield window


def choose_windows(
    tokens: TokenBatch, offsets: NDArray[np.int64], salience: NDArray[np.float32], config: WindowConfig
) -> tuple[TokenBatch, Windows]:
    """The windows of each text that are most likely the request, at most `most`; see `choose_windows` in windows.hpp.

    salience: float32 (vocabulary), how much a token speaks for a request; empty where the bundle does not know.
    """
    rows, chosen, penalties = _native.choose_windows(tokens.ids, tokens.offsets, offsets, salience, config.native)
    return tokens.taken(rows), Windows(chosen, penalties)


def fold_windows(ranked: RankedBatch, windows: Windows) -> RankedBatch:
    """One row a prompt: each guideline with the best of its scores for the windows, less the window's penalty."""
    return RankedBatch(
        *_native.fold_windows(
            ranked.guidelines, ranked.scores, ranked.matched, ranked.counts, windows.offsets, windows.penalties
        )
    )

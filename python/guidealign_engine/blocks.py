"""Guideline blocks: the text or token ids that are put into a prompt, made ready once for a library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from guidealign_engine import _native
from guidealign_engine.batches import SelectedBatch
from guidealign_engine.config import PromptConfig
from guidealign_engine.library import Library
from guidealign_engine.markers import marker_finder, neutralise
from guidealign_engine.target import TargetTokenizer

_EMPTY = np.empty(0, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class TextBlocks:
    """Assembles blocks of text. Entries are made safe once, not per request."""

    config: PromptConfig
    opening: str
    entry_bytes: NDArray[np.uint8]
    entry_offsets: NDArray[np.int64]
    writer: _native.TextBlockWriter = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        writer = _native.TextBlockWriter(
            opening=self.opening,
            bullet=self.config.bullet,
            entries=self.entry_bytes,
            entry_offsets=self.entry_offsets,
            separator="\n",
            closing=self.config.closing,
        )
        object.__setattr__(self, "writer", writer)

    @classmethod
    def prepare(cls, library: Library, config: PromptConfig) -> TextBlocks:
        opening = f"{config.opening}\n{config.header}\n" if config.header else f"{config.opening}\n"
        # Byte by byte, an ASCII marker is found in UTF-8 as in any other text.
        as_text = library.entry_bytes.tobytes().decode("latin-1")
        if marker_finder(config.markers).find(as_text) < 0:
            return cls(config, opening, library.entry_bytes, library.entry_offsets)
        entries = [neutralise(entry, config.markers).encode() for entry in entries_of(library)]
        return cls(config, opening, np.frombuffer(b"".join(entries), dtype=np.uint8), _offsets(entries))

    def assemble(self, selected: SelectedBatch) -> list[str]:
        """One block a row, in library order; an empty string where nothing was selected."""
        return self.writer.assemble(selected.guidelines, selected.counts)

    def lines(self) -> list[str]:
        """Each guideline's line in a block, for counting and tokenising."""
        blob = self.entry_bytes.tobytes()
        offsets = self.entry_offsets.tolist()
        return [f"{self.config.bullet}{blob[begin:end].decode()}\n" for begin, end in pairwise(offsets)]


@dataclass(frozen=True, slots=True)
class TokenBlocks:
    """Assembles blocks of token ids. Every line is tokenised once, alone, so that lines can be put together freely."""

    opening: NDArray[np.int32]
    lines: NDArray[np.int32]
    line_offsets: NDArray[np.int64]
    closing: NDArray[np.int32]

    @classmethod
    def prepare(cls, text: TextBlocks, target: TargetTokenizer) -> TokenBlocks:
        opening, closing, *lines = target.encode_many([text.opening, text.config.closing, *text.lines()])
        return cls(opening, np.concatenate([_EMPTY, *lines]), _offsets(lines), closing)

    def assemble(self, selected: SelectedBatch) -> list[NDArray[np.int32]]:
        """One block a row, in library order; no ids where nothing was selected."""
        values, offsets = _native.assemble_token_blocks(
            selected.guidelines,
            selected.counts,
            opening=self.opening,
            bullet=_EMPTY,
            entries=self.lines,
            entry_offsets=self.line_offsets,
            separator=_EMPTY,
            closing=self.closing,
        )
        return np.split(values, offsets[1:-1])


@dataclass(frozen=True, slots=True)
class TokenCosts:
    """What a block costs in tokens: `around` for its opening and closing, `lines` for each guideline, int32."""

    around: int
    lines: NDArray[np.int32]

    @classmethod
    def count(cls, text: TextBlocks, count: Callable[[Sequence[str]], list[int]]) -> TokenCosts:
        opening, closing, *lines = count([text.opening, text.config.closing, *text.lines()])
        return cls(opening + closing, np.array(lines, dtype=np.int32))

    @classmethod
    def of(cls, blocks: TokenBlocks) -> TokenCosts:
        return cls(len(blocks.opening) + len(blocks.closing), np.diff(blocks.line_offsets).astype(np.int32))


def entries_of(library: Library) -> list[str]:
    """The entry of every guideline, in library order."""
    blob = library.entry_bytes.tobytes()
    offsets = library.entry_offsets.tolist()
    return [blob[begin:end].decode() for begin, end in pairwise(offsets)]


def _offsets(rows: Sequence[bytes] | Sequence[NDArray[np.int32]]) -> NDArray[np.int64]:
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    return offsets

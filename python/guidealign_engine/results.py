"""What a request gets back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.batches import SelectedBatch
from guidealign_engine.library import Library
from guidealign_engine.query import Message


@dataclass(frozen=True, slots=True)
class RetrievedGuideline:
    """A guideline, its score, and why it is there.

    `matched` is the stored text that was nearest to the query; the guideline's own, where its examples are folded into
    one vector with it.
    """

    id: str
    kind: str
    category: str
    title: str
    text: str
    score: float
    matched: str

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


class Retrieval:
    """What was found for one prompt. Lists and records are made when they are asked for."""

    __slots__ = ("_guidelines", "_library", "_row", "_selected")

    def __init__(self, library: Library, selected: SelectedBatch, row: int) -> None:
        self._library = library
        self._selected = selected
        self._row = row
        self._guidelines: list[RetrievedGuideline] | None = None

    @property
    def positions(self) -> list[int]:
        """Positions of the guidelines in the library, best first."""
        return self._filled(self._selected.guidelines)

    @property
    def scores(self) -> list[float]:
        """Of each guideline, in the order of `positions`."""
        return self._filled(self._selected.scores)

    @property
    def risk(self) -> float | None:
        """How likely the prompt needs a safety guideline, in [0, 1].

        None from a bundle that was not calibrated for it, and where `kinds` or `tags` left too little to tell it from.
        """
        risk = float(self._selected.risks[self._row])
        return None if math.isnan(risk) else risk

    @property
    def guidelines(self) -> list[RetrievedGuideline]:
        """Best first; empty where nothing scored high enough."""
        if self._guidelines is None:
            matched: list[int] = self._filled(self._selected.matched)
            self._guidelines = [self._read(*row) for row in zip(self.positions, self.scores, matched, strict=True)]
        return self._guidelines

    def _filled(self, columns: NDArray[Any]) -> list[Any]:
        filled: list[Any] = columns[self._row, : self._selected.counts[self._row]].tolist()
        return filled

    def _read(self, position: int, score: float, matched: int) -> RetrievedGuideline:
        record = self._library.record(position)
        return RetrievedGuideline(
            record.id,
            record.kind,
            record.category,
            record.title,
            record.text,
            score,
            self._library.matched_text(position, matched),
        )

    def __repr__(self) -> str:
        found = ", ".join(f"{guideline.id} {guideline.score:.3f}" for guideline in self.guidelines)
        return f"Retrieval([{found}])"


def retrievals_of(library: Library, selected: SelectedBatch) -> list[Retrieval]:
    """One Retrieval a row."""
    return [Retrieval(library, selected, row) for row in range(len(selected.counts))]


class GuidedPrompt(NamedTuple):
    """A prompt with its guidelines in it."""

    prompt: list[Message] | str | NDArray[np.int32]
    """Messages, text or token ids, as `output` asked."""
    retrieval: Retrieval


Item_co = TypeVar("Item_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Batch(Sequence[Item_co], Generic[Item_co]):
    """Results in the order of the prompts, with the time that each stage took for all of them."""

    items: list[Item_co]
    timings_us: Mapping[str, float] = field(default_factory=dict)
    """Microseconds by stage; over several threads, the sum."""

    @overload
    def __getitem__(self, index: int) -> Item_co: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item_co]: ...
    def __getitem__(self, index: int | slice) -> Item_co | list[Item_co]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Item_co]:
        return iter(self.items)

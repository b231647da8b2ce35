"""How many inputs find each guideline among the first k, as they will be searched: every example is in the index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.bundle import Bundle
from guidealign_engine.library import GuidelineRecord, Library
from guidealign_engine.offline.guidelines.meaning import MeaningEncoder

_INPUTS_AT_ONCE = 256
_STEPS_PER_REPORT = 16
_CELLS_AT_ONCE = 1 << 24


@dataclass(frozen=True, slots=True)
class Reach:
    """Counts for each guideline, all int64 (guidelines)."""

    own: NDArray[np.int64]
    """its own examples that were asked for"""
    found_by_own: NDArray[np.int64]
    found_by_others: NDArray[np.int64]
    """examples of other guidelines, and further inputs, that find it"""
    inputs: int
    """all that were asked for"""
    stored: bool
    """whether the library's vectors were those of the bundle"""


def measure_reach(
    records: Sequence[GuidelineRecord],
    inputs: Sequence[str],
    bundle: Bundle,
    encoder: MeaningEncoder,
    *,
    k: int,
    most: int,
    report: Callable[[str], None] = lambda line: None,
) -> Reach:
    """Searches for the inputs and for the guidelines' own examples: `most` examples at most, as many of each as can be.

    Vectors of the library are the bundle's where it holds all of the texts, and the encoder's otherwise.
    """
    texts = [text for record in records for text in (record.entry, *record.examples)]
    sizes = np.array([1 + len(record.examples) for record in records])
    firsts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    known = _stored_vectors(bundle, texts)
    vectors = encoder.embed(texts) if known is None else known
    rows = _evenly(sizes, firsts, most)
    owners = np.concatenate([np.repeat(np.arange(len(records)), sizes)[rows], np.full(len(inputs), -1)])
    asked = [*(texts[row] for row in rows.tolist()), *inputs]
    counts = np.zeros((2, len(records)), dtype=np.int64)
    step = max(1, min(_INPUTS_AT_ONCE, _CELLS_AT_ONCE // len(texts)))
    for start in range(0, len(asked), step):
        part = slice(start, start + step)
        scores = np.maximum.reduceat(encoder.embed(asked[part]) @ vectors.T, firsts, axis=1)
        best = np.argpartition(-scores, min(k, len(records)) - 1, axis=1)[:, :k]
        is_own = best == owners[part, None]
        counts[0] += np.bincount(best[is_own], minlength=len(records))
        counts[1] += np.bincount(best[~is_own], minlength=len(records))
        if start // step % _STEPS_PER_REPORT == 0:
            report(f"  {start:,} of {len(asked):,} inputs searched for")
    own = np.bincount(owners[owners >= 0], minlength=len(records))
    return Reach(own, counts[0], counts[1], len(asked), known is not None)


def _evenly(sizes: NDArray[np.int64], firsts: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Rows of the first examples of all guidelines, then of the second ones, and so on."""
    rounds = []
    for place in range(1, int(sizes.max(initial=1))):
        rounds.append(firsts[sizes > place] + place)
        if sum(map(len, rounds)) >= most:
            break
    return np.concatenate([np.empty(0, dtype=np.int64), *rounds])[:most]


def _stored_vectors(bundle: Bundle, texts: Sequence[str]) -> NDArray[np.float32] | None:
    """The bundle's vectors of the texts; None where it lacks one, or has folded them into one a guideline."""
    library = Library.from_bundle(bundle)
    if bundle.manifest.vectors == len(library):
        return None
    rows = dict[str, int]()
    for place in range(len(library)):
        record = library.record(place)
        for number, text in enumerate((record.entry, *record.examples)):
            rows[text] = int(library.vector_offsets[place]) + number
    if not rows.keys() >= set(texts):
        return None
    places = np.array([rows[text] for text in texts])
    vectors: NDArray[np.float32] = library.vectors[places].astype(np.float32)
    if len(library.scales):
        vectors *= library.scales[places, None]
    return vectors

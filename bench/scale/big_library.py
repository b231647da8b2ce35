"""Libraries of any size, by perturbing real guidelines.

Every guideline of a made library has an anchor, a real guideline drawn at random, and takes the distances and the
directions in which real ones differ:

- How far it lies from its anchor is how far a real guideline, drawn at random, lies from its own nearest neighbour.
- In which direction is a random mix of three real differences: to one of the anchor's 16 nearest guidelines, and twice
  between two examples of one guideline. So clouds are as flat and as stretched as those of real texts; isotropic noise
  in 256 dimensions would make every search easy.
- Its text is the anchor's title, a sentence of that neighbour's, and one of a guideline whose examples gave a
  direction. So there are hardly more near-duplicates than in a library that was cleared of them.
- With several vectors, the others lie to its first one as real examples of the anchor lie to the anchor, and keep those
  examples' texts.

The order is random, so that neighbours are far apart in memory: a library that is sorted by subject is easier. A seed
decides all draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.scale.sources import Sources
from guidealign_engine.building import Report
from guidealign_engine.library import GuidelineRecord

_CHUNK = 1 << 16
# How often a direction is drawn from neighbours far down the list: rank r is taken with probability ~ RANK_DECAY ** r.
_RANK_DECAY = 0.85


@dataclass(frozen=True, slots=True)
class BigLibrary:
    """Guidelines, and a unit vector for the text of each and for each of its examples, in the order of both."""

    records: list[GuidelineRecord]
    vectors: NDArray[np.float32]
    """(guidelines * vectors a guideline, dimension)"""

    @classmethod
    def make(cls, sources: Sources, guidelines: int, *, vectors_each: int = 1, seed: int = 0) -> BigLibrary:
        """So many guidelines with `vectors_each` vectors: their text's, and those of examples."""
        draw = np.random.default_rng(seed)
        anchors = draw.integers(len(sources.records), size=guidelines)
        others = _drawn_neighbours(sources, anchors, draw)
        lefts = draw.integers(len(sources.examples), size=(guidelines, 2))
        examples = _drawn_examples(sources, anchors, vectors_each - 1, draw)
        vectors = np.empty((guidelines, vectors_each, sources.vectors.shape[1]), dtype=np.float32)
        for start in range(0, guidelines, _CHUNK):
            rows = slice(start, start + _CHUNK)
            own = _near_anchors(sources, anchors[rows], others[rows], lefts[rows], draw)
            offsets = sources.example_vectors[examples[rows]] - sources.vectors[anchors[rows], None]
            vectors[rows, 0] = own
            vectors[rows, 1:] = _unit(own[:, None] + offsets)
        records = _records(sources, anchors, (others, sources.example_owners[lefts[:, 0]]), examples, draw)
        return cls(records, vectors.reshape(guidelines * vectors_each, -1))


@dataclass(frozen=True, slots=True)
class MadeVectors:
    """Stands where a teacher does when a bundle is built: the vectors are there already."""

    vectors: NDArray[np.float32]
    name: str = "perturbation"

    def embed_texts(self, texts: Sequence[str], report: Report) -> NDArray[np.float32]:
        """The vectors, float32 (texts, dimension). Raises ValueError for another number of texts."""
        if len(texts) != len(self.vectors):
            raise ValueError(f"{len(texts)} texts were given; vectors were made for {len(self.vectors)}")
        return self.vectors


def nearest_cosines(vectors: NDArray[np.float32], *, sample: int = 300, seed: int = 0) -> NDArray[np.float32]:
    """Cosine of a sample of the vectors to the nearest other one."""
    rows = np.random.default_rng(seed).permutation(len(vectors))[:sample]
    cosines = np.full(len(rows), -1.0, dtype=np.float32)
    for start in range(0, len(vectors), _CHUNK):
        block = vectors[rows] @ vectors[start : start + _CHUNK].T
        inside = np.flatnonzero((rows >= start) & (rows < start + _CHUNK))
        block[inside, rows[inside] - start] = -1.0
        np.maximum(cosines, block.max(axis=1), out=cosines)
    return cosines


def _near_anchors(
    sources: Sources,
    anchors: NDArray[np.int64],
    others: NDArray[np.int64],
    lefts: NDArray[np.int64],
    draw: np.random.Generator,
) -> NDArray[np.float32]:
    """lefts: int64 (anchors, 2), an example of each of the two pairs whose differences are taken."""
    anchor_vectors = sources.vectors[anchors]
    to_other = sources.vectors[others] - anchor_vectors
    shares = draw.dirichlet((1.0, 1.0, 1.0), size=len(anchors)).astype(np.float32)
    directions = shares[:, :1] * _unit(to_other)
    for column in (1, 2):
        directions += shares[:, column : column + 1] * _unit(_example_differences(sources, lefts[:, column - 1], draw))
    along = np.einsum("ij,ij->i", directions, anchor_vectors)[:, None]
    directions = _unit(directions - along * anchor_vectors)
    cosines = np.clip(sources.nearest, 0.0, 1.0)[draw.integers(len(sources.nearest), size=len(anchors)), None]
    return _unit(cosines * anchor_vectors + np.sqrt(1.0 - cosines**2) * directions)


def _example_differences(sources: Sources, lefts: NDArray[np.int64], draw: np.random.Generator) -> NDArray[np.float32]:
    """From another example of the same guideline to each of these, float32 (lefts, dimension)."""
    right = _drawn_examples(sources, sources.example_owners[lefts], 1, draw)[:, 0]
    return np.asarray(sources.example_vectors[lefts] - sources.example_vectors[right], dtype=np.float32)


def _drawn_examples(
    sources: Sources, guidelines: NDArray[np.int64], count: int, draw: np.random.Generator
) -> NDArray[np.int64]:
    """`count` examples of each guideline, int64 (guidelines, count); the same one twice where it has fewer."""
    firsts = np.searchsorted(sources.example_owners, np.arange(len(sources.records) + 1))
    sizes = np.diff(firsts)[guidelines, None]
    begin = draw.integers(1 << 31, size=(len(guidelines), 1))
    return np.asarray(firsts[guidelines, None] + (begin + np.arange(count)) % sizes, dtype=np.int64)


def _drawn_neighbours(sources: Sources, anchors: NDArray[np.int64], draw: np.random.Generator) -> NDArray[np.int64]:
    """One of each anchor's neighbours, near ones more often, int64 (anchors)."""
    chances = _RANK_DECAY ** np.arange(sources.neighbours.shape[1])
    ranks = draw.choice(len(chances), size=len(anchors), p=chances / chances.sum())
    return np.asarray(sources.neighbours[anchors, ranks], dtype=np.int64)


def _records(
    sources: Sources,
    anchors: NDArray[np.int64],
    speakers: tuple[NDArray[np.int64], NDArray[np.int64]],
    examples: NDArray[np.int64],
    draw: np.random.Generator,
) -> list[GuidelineRecord]:
    """speakers: the guidelines whose sentences each takes."""
    sentences = sources.sentences
    choices = draw.integers(1 << 31, size=(len(anchors), 2)).tolist()
    records = []
    first, second = (each.tolist() for each in speakers)
    for number, (anchor, *said_by, own) in enumerate(
        zip(anchors.tolist(), first, second, examples.tolist(), strict=True)
    ):
        real = sources.records[anchor]
        parts = (
            sentences[of][choice % len(sentences[of])] for of, choice in zip(said_by, choices[number], strict=True)
        )
        records.append(
            GuidelineRecord(
                id=f"{real.id}-{number}",
                kind=real.kind,
                category=real.category,
                title=real.title,
                text=" ".join(parts),
                examples=tuple(sources.examples[example] for example in own),
                tags=real.tags,
                priority=real.priority,
                source=f"perturbation of {real.id}",
            )
        )
    return records


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return np.asarray(vectors / norms, dtype=np.float32)

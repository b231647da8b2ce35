"""What large libraries are made of: the guidelines of a real bundle, their vectors, and those of their examples."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.building import StudentEmbedder
from guidealign_engine.bundle import open_bundle
from guidealign_engine.library import GuidelineRecord, Library

_NEIGHBOURS = 16
_SENTENCE_END = re.compile(r"(?<=[.!?;:])\s+")


@dataclass(frozen=True, slots=True)
class Sources:
    """Real guidelines, and how they lie to each other and to the inputs that they were written for."""

    records: list[GuidelineRecord]
    vectors: NDArray[np.float32]
    """Stored vectors, one a guideline, unit length (guidelines, dimension)"""
    neighbours: NDArray[np.int64]
    """(guidelines, up to 16) the nearest others, nearest first"""
    nearest: NDArray[np.float32]
    """(guidelines) cosine to the nearest other"""
    examples: list[str]
    example_vectors: NDArray[np.float32]
    """(examples, dimension) by the bundle's own encoder"""
    example_owners: NDArray[np.int64]
    """(examples) the guideline of each, ascending"""

    @classmethod
    def of_bundle(cls, folder: Path) -> Sources:
        """Of a bundle that has one vector a guideline, and examples."""
        bundle = open_bundle(folder)
        library = Library.from_bundle(bundle)
        records = [library.record(position) for position in range(len(library))]
        vectors = library.vectors[library.vector_offsets[:-1]].astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        neighbours, nearest = _neighbours(vectors)
        counts = [len(record.examples) for record in records]
        examples = [text for record in records for text in record.examples]
        example_vectors = StudentEmbedder.from_bundle(bundle).embed_texts(examples, lambda line: None)
        return cls(
            records, vectors, neighbours, nearest, examples, example_vectors, np.repeat(np.arange(len(records)), counts)
        )

    @property
    def sentences(self) -> list[list[str]]:
        """Of each guideline's text, cut where a sentence or a clause ends."""
        return [_SENTENCE_END.split(" ".join(record.text.split())) for record in self.records]


def _neighbours(vectors: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, : min(_NEIGHBOURS, len(vectors) - 1)]
    return order, cosines[np.arange(len(vectors)), order[:, 0]]

"""Guidelines that say the same in other words, by the vectors of a bundle's encoder.

The student and not its teacher: on hand-written paraphrases they tell the same from the different equally well, and the
student embeds two thousand times as many texts a second. Every vector is compared with all that stay, exactly: what
stays is few, an approximate index misses some, and the merge must come out the same each time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.building import StudentEmbedder
from guidealign_engine.bundle import Bundle, open_bundle
from guidealign_engine.config import check_range
from guidealign_engine.encoder import OnnxEncoder
from guidealign_engine.loading import STARTER_BUNDLE
from guidealign_engine.offline.guidelines.near_duplicates import MayMeet, Pairs
from guidealign_engine.tokenizer import QueryTokenizer

DEFAULT_LIKENESS = 0.8
LOWEST_LIKENESS = 0.5
BATCH = 1024
_KEPT_AT_ONCE = 1 << 14
# An encoder knows a language when its words are tokens. English texts have 1.0 to 1.3 tokens for each word or mark,
# French and German ones 1.3 to 1.9, and in such pieces of words texts on anything look alike.
_MOST_TOKENS_PER_WORD = 1.3
_WORD_OR_MARK = re.compile(r"\w+|[^\w\s]")


class MeaningEncoder:
    """Embeds guidelines, and says which of them it can tell apart."""

    def __init__(self, bundle: Bundle) -> None:
        self.name = bundle.manifest.encoder.id
        self._tokenizer = QueryTokenizer.from_bundle(bundle)
        self._student = StudentEmbedder(self._tokenizer, OnnxEncoder.from_bundle(bundle, threads=1))

    @classmethod
    def load(cls, folder: Path | None) -> MeaningEncoder:
        """The encoder of a bundle; None for the starter bundle. Raises ArtifactError where it is none."""
        return cls(open_bundle(STARTER_BUNDLE if folder is None else folder))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, float32 (texts, dimension)."""
        return self._student.embed_texts(texts, lambda line: None)

    def knows(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Which texts are in a language whose words the encoder knows, bool (texts)."""
        tokens = np.array(self._tokenizer.count(texts), dtype=np.float64)
        words = np.array([max(1, len(_WORD_OR_MARK.findall(text))) for text in texts])
        known: NDArray[np.bool_] = tokens <= _MOST_TOKENS_PER_WORD * words
        return known


class MeaningMatches:
    """Remembers vectors, and finds those among them that new ones come near to."""

    def __init__(self, likeness: float = DEFAULT_LIKENESS) -> None:
        """likeness: the lowest cosine of texts that say the same. Raises ConfigError below 0.5 or above 1."""
        check_range("likeness", likeness, LOWEST_LIKENESS, 1.0)
        self._likeness = likeness
        self._vectors: NDArray[np.float32] | None = None
        self._numbers = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, vectors: NDArray[np.float32], numbers: NDArray[np.int64]) -> None:
        """numbers: what `pairs` is to call the vectors."""
        held, needed = len(self), len(self) + len(numbers)
        if self._vectors is None or needed > len(self._vectors):
            grown = np.empty((max(BATCH, 2 * needed), vectors.shape[1]), dtype=np.float32)
            if self._vectors is not None:
                grown[:held] = self._vectors[:held]
            self._vectors = grown
        self._vectors[held:needed] = vectors
        self._numbers = np.concatenate([self._numbers, numbers])

    def pairs(self, vectors: NDArray[np.float32], numbers: NDArray[np.int64], may_meet: MayMeet) -> Pairs:
        """Each vector with the remembered ones that are like it, and with those before it among the new ones."""
        parts = [_near(vectors, numbers, vectors, numbers, self._likeness)]
        for start in range(0, len(self), _KEPT_AT_ONCE):
            assert self._vectors is not None
            block = slice(start, min(start + _KEPT_AT_ONCE, len(self)))
            parts.append(_near(vectors, numbers, self._vectors[block], self._numbers[block], self._likeness))
        later = np.concatenate([part.later for part in parts])
        earlier = np.concatenate([part.earlier for part in parts])
        wanted = may_meet(later, earlier)
        ratios = np.concatenate([part.ratios for part in parts])
        return Pairs(later[wanted], earlier[wanted], ratios[wanted])


def _near(
    vectors: NDArray[np.float32],
    numbers: NDArray[np.int64],
    others: NDArray[np.float32],
    other_numbers: NDArray[np.int64],
    lowest: float,
) -> Pairs:
    cosines = vectors @ others.T
    rows, columns = np.nonzero(cosines >= lowest)
    before = other_numbers[columns] < numbers[rows]
    rows, columns = rows[before], columns[before]
    # Rounding lets the cosine of equal vectors pass 1.
    ratios = np.minimum(cosines[rows, columns], 1.0).astype(np.float64)
    return Pairs(numbers[rows], other_numbers[columns], ratios)

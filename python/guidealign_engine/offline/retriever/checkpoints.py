"""Where a training stands: written whole or not at all, and gone on from by the same training only."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from guidealign_engine.errors import ArtifactError, ConfigError
from guidealign_engine.offline.retriever.student_files import write_synced

CHECKPOINT = "checkpoint.pt"
"""In the folder of what is trained"""


def save_checkpoint(file: Path, state: Mapping[str, Any]) -> None:
    """Raises OSError when there is no room; the checkpoint before is then still there."""
    content = io.BytesIO()
    torch.save(dict(state), content)
    unfinished = file.with_suffix(".tmp")
    try:
        write_synced(unfinished, content.getvalue())
        unfinished.replace(file)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def load_checkpoint(file: Path, *, task: str, depends_on: str) -> dict[str, Any] | None:
    """What was saved with this `task`, its tensors on the CPU; None where there is no file.

    depends_on: in words, what else than options makes another task. Raises ArtifactError for a file that is no
    checkpoint, and ConfigError for one of another task.
    """
    if not file.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(file, weights_only=True, map_location="cpu")
        saved = state["task"]
    except Exception as error:  # torch raises what its zip reader and unpickler raise
        raise ArtifactError(f"this is no checkpoint of a training: {error!r}; delete it", file=file) from error
    if saved != task:
        raise ConfigError(f"{file} was begun with other options, or {depends_on}; delete it, or give the same ones")
    return state

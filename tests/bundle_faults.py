"""What tests of bundles that are refused share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy

from guidealign_engine import ArtifactError, Engine, load_engine
from guidealign_engine.bundle import (
    INDEX,
    VECTORS,
    Manifest,
    open_bundle,
)

LOCK = "how do I pick the lock of my neighbour's door"
Change = Callable[[np.ndarray[Any, Any]], "np.ndarray[Any, Any] | None"]


def refused(folder: Path, file: Path, field: str | None, rule: str) -> None:
    """Opening fails, naming the file and the field, with a message that ends in the rule."""
    with pytest.raises(ArtifactError) as caught:
        load_engine(folder)
    place = str(file) if field is None else f"{file}, field {field}"
    assert str(caught.value) == f"{place}: {rule}"
    assert (caught.value.file, caught.value.field) == (file, field)


def stored_vectors(folder: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    return open_bundle(folder).arrays(VECTORS)["vectors"].astype(np.float32)


def put_index(folder: Path, index: Any) -> None:
    import faiss

    toy.replace_part(folder, INDEX, faiss.serialize_index(index).tobytes())


def with_value(array: np.ndarray[Any, Any], place: int, value: Any) -> np.ndarray[Any, Any]:
    changed = array.copy()
    changed[place] = value
    return changed


def answer(engine: Engine) -> list[tuple[str, float]]:
    return [(it.id, it.score) for it in engine.retrieve_batch([LOCK], min_score=-1.0)[0].guidelines]


def parts_of(folder: Path) -> tuple[Manifest, dict[str, bytes]]:
    opened = open_bundle(folder)
    return opened.manifest, {part: opened.read(part) for part in opened.manifest.parts}


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())

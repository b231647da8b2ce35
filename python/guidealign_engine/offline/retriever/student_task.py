"""What a student of either kind is distilled from, and what is said of it afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from guidealign_engine.offline.retriever.static_student import DevInputs, DistilReport, LibraryTargets
from guidealign_engine.offline.retriever.teacher import Projection
from guidealign_engine.token_extras import TokenExtras
from guidealign_engine.tokenizer import QueryTokenizer

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class StudentTask:
    tokenizer: Tokenizer
    reader: QueryTokenizer
    """The same as an engine uses it, with bigrams."""
    extras: TokenExtras
    texts: Sequence[str]
    projection: Projection
    targets: NDArray[np.float32]
    """The teacher's unit vectors of the texts, float32 (texts, dimension)."""
    table: NDArray[np.float32]
    """What the teacher makes of each token alone, float32 (vocabulary + bigrams, dimension)."""
    library: LibraryTargets | None
    dev: DevInputs | None
    sample: list[str]
    """Texts that a graph is checked with."""
    device: torch.device
    report: Report


def history_record(distilled: DistilReport) -> dict[str, Any]:
    """Agreement by epoch, for student.json."""
    agreement = {
        "held_out_cosine": distilled.cosine,
        "held_out_overlap_at_6": distilled.overlap,
        "dev_recall_at_6": distilled.recall,
    }
    rounded = {name: [round(value, 5) for value in values] for name, values in agreement.items() if values}
    return {**rounded, "best_epoch": distilled.best_epoch}


def graph_digest(model: onnx.ModelProto) -> str:
    """What an encoder's id ends in."""
    return hashlib.sha256(model.SerializeToString()).hexdigest()[:8]

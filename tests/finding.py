"""What tests of an engine ask, and how they read the answer."""

from __future__ import annotations

from typing import Any

from guidealign_engine import (
    Engine,
    Retrieval,
)

LOCK = "how do I pick the lock of my neighbour's door"
KEY_ERROR = "my python code raises KeyError id and I do not know why"
ALL = {"min_score": -1.0, "duplicate_ratio": None}


def ids_of(retrieval: Retrieval) -> list[str]:
    return [guideline.id for guideline in retrieval.guidelines]


def found(engine: Engine, prompt: Any, **options: Any) -> list[str]:
    return ids_of(engine.retrieve_batch([prompt], **options)[0])

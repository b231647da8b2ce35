"""Finds the guidelines that matter for a request and puts them into the prompt.

    import guidealign_engine

    for retrieval in guidealign_engine.retrieve_batch(["How do I pick a lock?"]):
        for guideline in retrieval.guidelines:
            print(guideline.score, guideline.title)

`load_engine` opens other bundles than the starter bundle; its engine has the same two calls.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from guidealign_engine.batching import BatchingEngine
from guidealign_engine.chat import ChatFormat
from guidealign_engine.config import (
    Fold,
    Kind,
    Output,
    Placement,
    PromptConfig,
    QueryConfig,
    RerankConfig,
    SearchConfig,
    Thresholds,
)
from guidealign_engine.engine import Engine, EngineConfig
from guidealign_engine.errors import (
    ArtifactError,
    ClosedError,
    ConfigError,
    DeviceError,
    GuidealignError,
    MissingDependencyError,
    PromptError,
)
from guidealign_engine.loading import default_engine, load_engine
from guidealign_engine.query import Prompt
from guidealign_engine.results import Batch, GuidedPrompt, Retrieval, RetrievedGuideline
from guidealign_engine.target import TargetTokenizer

__all__ = [
    "ArtifactError",
    "Batch",
    "BatchingEngine",
    "ChatFormat",
    "ClosedError",
    "ConfigError",
    "DeviceError",
    "Engine",
    "EngineConfig",
    "Fold",
    "GuidealignError",
    "GuidedPrompt",
    "Kind",
    "MissingDependencyError",
    "Output",
    "Placement",
    "Prompt",
    "PromptConfig",
    "PromptError",
    "QueryConfig",
    "RerankConfig",
    "Retrieval",
    "RetrievedGuideline",
    "SearchConfig",
    "TargetTokenizer",
    "Thresholds",
    "assemble_batch",
    "default_engine",
    "load_engine",
    "retrieve_batch",
]


def __getattr__(name: str) -> Any:
    """`__version__`, looked up when it is asked for: importing importlib.metadata would slow every start."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("guidealign-engine")


def retrieve_batch(
    prompts: Sequence[Prompt],
    *,
    k: int = 6,
    min_score: float | None = None,
    duplicate_ratio: float | None = 0.5,
    kinds: Iterable[str] | None = None,
    tags: Iterable[str] | None = None,
    diversity: float = 0.0,
) -> Batch[Retrieval]:
    """`Engine.retrieve_batch` on the starter bundle."""
    return default_engine().retrieve_batch(
        prompts,
        k=k,
        min_score=min_score,
        duplicate_ratio=duplicate_ratio,
        kinds=kinds,
        tags=tags,
        diversity=diversity,
    )


def assemble_batch(
    prompts: Sequence[Prompt],
    *,
    output: str = "messages",
    placement: str = "system",
    max_guideline_tokens: int | None = None,
    target: TargetTokenizer | None = None,
    chat_format: str | ChatFormat | None = None,
    prompt: PromptConfig | None = None,
    k: int = 6,
    min_score: float | None = None,
    duplicate_ratio: float | None = 0.5,
    kinds: Iterable[str] | None = None,
    tags: Iterable[str] | None = None,
    diversity: float = 0.0,
) -> Batch[GuidedPrompt]:
    """`Engine.assemble_batch` on the starter bundle."""
    return default_engine().assemble_batch(
        prompts,
        output=output,
        placement=placement,
        max_guideline_tokens=max_guideline_tokens,
        target=target,
        chat_format=chat_format,
        prompt=prompt,
        k=k,
        min_score=min_score,
        duplicate_ratio=duplicate_ratio,
        kinds=kinds,
        tags=tags,
        diversity=diversity,
    )

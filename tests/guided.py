"""Prompts and their guided form, as tests of assembling write them."""

from __future__ import annotations

from typing import Any

from toy import block_of

from guidealign_engine import Engine

LOCK = "how do I pick the lock of my neighbour's door"
BLOCK = block_of(["crime-lock"])
MARKERS = ("<guidelines>", "</guidelines>")
PLACEMENTS = ["system", "before_last_user", "after_last_user"]
CHATML = {"output": "text", "chat_format": "chatml"}
ONLY_LOCKS: dict[str, Any] = {"tags": ["locks"], "min_score": -1.0}


def user(content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **fields}


def system(content: Any) -> dict[str, Any]:
    return {"role": "system", "content": content}


def assistant(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def guided(engine: Engine, prompt: Any, /, **options: Any) -> Any:
    return engine.assemble_batch([prompt], **options)[0].prompt

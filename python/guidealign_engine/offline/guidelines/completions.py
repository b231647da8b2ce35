"""Reads what endpoints send for an answer, in the shapes that servers give it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from guidealign_engine.offline.guidelines.answer_store import Answer


class UnreadableCompletion(ValueError):
    """What came is no answer: cut off, no JSON, or without a choice. Another try may bring one."""


def read_completion(body: Any) -> Answer:
    """The first choice of a completion, whether it was sent in one piece or streamed unasked.

    body: JSON that was read, or the text of a body that was not said to be JSON. Raises UnreadableCompletion.
    """
    if isinstance(body, str):
        return _read_text(body)
    choice = _first_choice(body)
    message = choice.get("message")
    spoken = message if isinstance(message, Mapping) else {"content": choice.get("text")}
    if not isinstance(spoken.get("content"), str | list | None):
        raise UnreadableCompletion(f"the endpoint answered with {spoken['content']!r:.80} instead of text")
    return _answer(_content(spoken.get("content")), spoken.get("refusal"), choice.get("finish_reason"), body)


def _read_text(body: str) -> Answer:
    if body.lstrip().startswith("{"):
        try:
            return read_completion(json.loads(body))
        except json.JSONDecodeError as error:
            raise UnreadableCompletion(f"the endpoint answered with broken JSON: {error}") from error
    pieces, usage, finish_reason = list[str](), dict[str, Any](), None
    for event in _events(body):
        if isinstance(event.get("usage"), Mapping):
            usage = {"usage": event["usage"]}
        if event.get("choices"):
            choice = _first_choice(event)
            delta = choice.get("delta")
            pieces.append(_content(delta.get("content") if isinstance(delta, Mapping) else choice.get("text")))
            finish_reason = choice.get("finish_reason") or finish_reason
    if finish_reason is None and not body.rstrip().endswith("data: [DONE]"):
        raise UnreadableCompletion(f"the endpoint answered with text that is no whole completion: {body[-80:]!r}")
    return _answer("".join(pieces), None, finish_reason, usage)


def _events(body: str) -> Iterator[Mapping[str, Any]]:
    for line in body.splitlines():
        content = line.removeprefix("data:").strip()
        if not line.startswith("data:") or content == "[DONE]":
            continue
        try:
            event = json.loads(content)
        except json.JSONDecodeError as error:
            raise UnreadableCompletion(f"the endpoint streamed broken JSON: {error}") from error
        if not isinstance(event, Mapping) or "error" in event:
            raise UnreadableCompletion(f"the endpoint streamed an error: {content:.80}")
        yield event


def _first_choice(body: Any) -> Mapping[str, Any]:
    choices = body.get("choices") if isinstance(body, Mapping) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise UnreadableCompletion(f"the endpoint answered without a choice: {json.dumps(body):.80}")
    return choices[0]


def _content(content: Any) -> str:
    """Text, also where it comes in parts."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _answer(text: str, refusal: Any, finish_reason: Any, body: Mapping[str, Any]) -> Answer:
    if finish_reason == "content_filter":
        refusal = refusal or "stopped by the endpoint's content filter"
    return Answer(
        text=_valid(text),
        prompt_tokens=_tokens(body, "prompt_tokens"),
        completion_tokens=_tokens(body, "completion_tokens"),
        refusal=_valid(refusal) if isinstance(refusal, str) else "",
        cut=finish_reason == "length",
    )


def _valid(text: str) -> str:
    """JSON may hold half of a surrogate pair, which no file can."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _tokens(body: Mapping[str, Any], name: str) -> int:
    usage = body.get("usage")
    count = usage.get(name) if isinstance(usage, Mapping) else None
    return count if isinstance(count, int) and 0 <= count < 1 << 48 else 0

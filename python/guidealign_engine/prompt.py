"""Puts a guideline block into a prompt: chat messages, text or token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.chat import ChatFormat
from guidealign_engine.config import Placement
from guidealign_engine.errors import ConfigError, PromptError
from guidealign_engine.markers import neutralise
from guidealign_engine.query import SYSTEM_ROLES, Message, Prompt, message_text, part_text
from guidealign_engine.target import TargetTokenizer

_GAP = "\n\n"


def as_messages(prompt: Prompt) -> list[Message]:
    """A conversation as it is, a string as a single user turn."""
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)


def guided_messages(
    prompt: Prompt, block: str, placement: Placement, markers: tuple[str, ...], index: int
) -> list[Message]:
    """The conversation with the block in it.

    `system` appends the block to the first system message, or puts a new one first; the other placements put it at
    the start or the end of the last user turn. Messages that need no change are handed back as they are, and the
    caller's own are never changed. Text that poses as the block's markers is broken up, outside system messages.
    """
    if isinstance(prompt, str):
        return _messages_of_string(neutralise(prompt, markers), block, placement)
    messages = safe_messages(prompt, markers, index)
    if not block:
        return messages
    host, at_start = _host_of_block(messages, placement)
    if host < 0:
        messages.insert(0, {"role": "system", "content": block})
    else:
        messages[host] = _with_text(messages[host], block, at_start=at_start)
    return messages


def _messages_of_string(text: str, block: str, placement: Placement) -> list[Message]:
    if block and placement is Placement.SYSTEM:
        return [{"role": "system", "content": block}, {"role": "user", "content": text}]
    content = _joined(block, text, at_start=placement is Placement.BEFORE_LAST_USER) if block else text
    return [{"role": "user", "content": content}]


def safe_messages(prompt: Prompt, markers: tuple[str, ...], index: int) -> list[Message]:
    """The messages, their content readable, and free of markers where it is not the operator's own."""
    return [_without_markers(message, markers, index) for message in as_messages(prompt)]


def _without_markers(message: Message, markers: tuple[str, ...], index: int) -> Message:
    text = message_text(message, index)
    if message["role"] in SYSTEM_ROLES or not text:
        return message
    content = message.get("content")
    if isinstance(content, str):
        safe: Any = neutralise(content, markers)
    elif content is None:
        return message
    else:
        safe = [_part_without_markers(part, markers, index) for part in content]
        if all(new is old for new, old in zip(safe, content, strict=True)):
            return message
    return message if safe is content else {**message, "content": safe}


def _part_without_markers(part: Any, markers: tuple[str, ...], index: int) -> Any:
    text = part_text(part, index)
    safe = None if text is None else neutralise(text, markers)
    if safe is text:
        return part
    return safe if isinstance(part, str) else {**part, "text": safe}


def _with_text(message: Message, block: str, *, at_start: bool) -> Message:
    content = message.get("content")
    if isinstance(content, str) or content is None:
        return {**message, "content": _joined(block, content or "", at_start=at_start)}
    part = {"type": "text", "text": block}
    return {**message, "content": [part, *content] if at_start else [*content, part]}


def _joined(block: str, text: str, *, at_start: bool) -> str:
    if not text:
        return block
    return f"{block}{_GAP}{text}" if at_start else f"{text}{_GAP}{block}"


def guided_text(
    prompt: Prompt,
    block: str,
    placement: Placement,
    markers: tuple[str, ...],
    chat_format: ChatFormat | None,
    index: int,
) -> str:
    """The prompt as one text: a string with the block before or after it, or a conversation in a chat format."""
    if chat_format is None:
        if not isinstance(prompt, str):
            raise ConfigError(
                f'output "text" of a conversation (prompt {index}) needs chat_format, such as "chatml"; '
                'or ask for output "messages"'
            )
        text = neutralise(prompt, markers)
        return _joined(block, text, at_start=placement is not Placement.AFTER_LAST_USER) if block else text
    controls = chat_format.controls
    turns, host, at_start = _turns(prompt, bool(block), placement, markers, index)
    parts = []
    for place, (role, text) in enumerate(turns):
        content = neutralise(text, controls)
        if place == host:
            content = _joined(neutralise(block, controls), content, at_start=at_start)
        parts.append(f"{chat_format.turn.format(role=role)}{content}{chat_format.end}")
    return f"{chat_format.start}{''.join(parts)}{chat_format.answer}"


def _turns(
    prompt: Prompt, has_block: bool, placement: Placement, markers: tuple[str, ...], index: int
) -> tuple[list[tuple[str, str]], int, bool]:
    """Role and text of each message, which of them takes the block (-1 for none), and whether at its start."""
    messages = safe_messages(prompt, markers, index)
    host, at_start = _host_of_block(messages, placement)
    if has_block and host < 0:
        messages.insert(0, {"role": "system", "content": ""})
        host = 0
    texts = [(message["role"], _only_text(message, index)) for message in messages]
    return texts, host if has_block else -1, at_start


def _only_text(message: Message, index: int) -> str:
    content = message.get("content")
    if isinstance(content, str) or content is None:
        return content or ""
    for part in content:
        if part_text(part, index) is None:
            raise PromptError("a content part is no text and cannot become text or token ids", index=index)
    return message_text(message, index)


def guided_token_ids(
    prompt: Prompt,
    block: NDArray[np.int32],
    placement: Placement,
    markers: tuple[str, ...],
    target: TargetTokenizer,
    index: int,
) -> NDArray[np.int32]:
    """The prompt in the target's token ids, the block among them token for token as it was tokenised once."""
    gap = target.encode(_GAP)
    block_ids = block.tolist()
    if target.chat_format is None:
        if not isinstance(prompt, str):
            raise ConfigError(
                f"token ids of a conversation (prompt {index}) need a TargetTokenizer with chat_format, "
                'such as "chatml"'
            )
        ids = target.encode(neutralise(prompt, markers))
        at_start = placement is not Placement.AFTER_LAST_USER
        return np.array(_joined_ids(block_ids, ids, gap, at_start=at_start), dtype=np.int32)
    return np.array(_chat_ids(prompt, block_ids, gap, placement, markers, target, index), dtype=np.int32)


def _chat_ids(
    prompt: Prompt,
    block: list[int],
    gap: list[int],
    placement: Placement,
    markers: tuple[str, ...],
    target: TargetTokenizer,
    index: int,
) -> list[int]:
    chat_format = target.chat_format
    assert chat_format is not None
    turns, host, at_start = _turns(prompt, bool(block), placement, markers, index)
    ids = target.encode_control(chat_format.start) if chat_format.start else []
    for place, (role, text) in enumerate(turns):
        content = target.encode(text)
        if place == host:
            content = _joined_ids(block, content, gap, at_start=at_start)
        ids += target.encode_control(chat_format.turn.format(role=role))
        ids += content
        ids += target.encode_control(chat_format.end)
    return ids + target.encode_control(chat_format.answer)


def _host_of_block(messages: Sequence[Message], placement: Placement) -> tuple[int, bool]:
    """Which message takes the block, -1 for a new system message, and whether at its start."""
    if placement is Placement.SYSTEM:
        # A second system message is an error in several chat templates.
        return next((place for place, message in enumerate(messages) if message["role"] in SYSTEM_ROLES), -1), False
    last_user = max((place for place, message in enumerate(messages) if message["role"] == "user"), default=-1)
    if last_user < 0:
        return _host_of_block(messages, Placement.SYSTEM)
    return last_user, placement is Placement.BEFORE_LAST_USER


def _joined_ids(block: list[int], ids: list[int], gap: list[int], *, at_start: bool) -> list[int]:
    if not block or not ids:
        return block or ids
    return [*block, *gap, *ids] if at_start else [*ids, *gap, *block]

"""From a prompt to the text that is searched for."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from guidealign_engine.config import QueryConfig
from guidealign_engine.errors import ConfigError, PromptError
from guidealign_engine.half_pairs import without_half_pairs

Message = Mapping[str, Any]
Prompt = str | Sequence[Message]

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
SYSTEM_ROLES = frozenset({"system", "developer"})
_TEXT_PARTS = frozenset({"text", "input_text"})
_CONTEXT_CHARACTERS = 256
FOLDED_AT_ONCE = 2048
"""Characters of a text whose compatibility forms are folded before it is cut into windows."""

# Characters that nobody sees: they split a word for the tokenizer and not for the reader.
_INVISIBLE = dict.fromkeys(
    [0xAD, 0x34F, 0x61C, 0x180E, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070)]
)
# Quotation marks and dashes that word processors put in the place of those on a keyboard.
_TYPOGRAPHIC = str.maketrans(
    {**dict.fromkeys("‘’‚‛", "'"), **dict.fromkeys("“”„‟", '"'), **dict.fromkeys("‐‑‒–—―−", "-")}
)
_AS_READ = {**_INVISIBLE, **_TYPOGRAPHIC}


def check_batch(prompts: Any) -> None:
    """Raises ConfigError unless `prompts` is a list, or another sequence, of prompts."""
    if isinstance(prompts, str):
        raise ConfigError("prompts is a string; give a list of prompts, such as [prompt]")
    is_sequence = isinstance(prompts, Sequence) and not isinstance(prompts, (bytes, bytearray))
    if isinstance(prompts, Mapping) or (
        is_sequence and any(type(prompt) is not str and isinstance(prompt, Mapping) for prompt in prompts)
    ):
        raise ConfigError("prompts holds a message; give a list of conversations, such as [messages]")
    if not is_sequence:
        raise ConfigError(f"prompts is a {type(prompts).__name__}; give a list of prompts")


def query_texts(prompts: Sequence[Prompt], config: QueryConfig, *, first: int = 0) -> list[str]:
    """One bounded text a prompt: a string itself, a conversation's newest user turn.

    A user turn of a few words leans on what was said before it, so the end of the turn before is put in front of it.
    A conversation without a user turn gives an empty text, for which nothing is found.
    Raises ConfigError when `prompts` is no batch, and PromptError for one that is no prompt, counting from `first`.
    """
    check_batch(prompts)
    most = config.max_characters
    return [
        # Most prompts are read as they are.
        prompt
        if type(prompt) is str and len(prompt) <= most and prompt.isascii()
        else _query_text(prompt, index, config)
        for index, prompt in enumerate(prompts, start=first)
    ]


def _query_text(prompt: Prompt, index: int, config: QueryConfig) -> str:
    if isinstance(prompt, str):
        return _read(prompt, config)
    turns = [message for message in checked_messages(prompt, index) if message["role"] == "user"]
    if not turns:
        return ""
    newest = bounded(message_text(turns[-1], index), config.max_characters, config.head_share)
    if len(turns) > 1 and len(newest) < _CONTEXT_CHARACTERS:
        before = message_text(turns[-2], index)
        newest = f"{before[-_CONTEXT_CHARACTERS:]}\n{newest}"
    return _read(newest, config)


def _read(text: str, config: QueryConfig) -> str:
    """The bounded text as a reader sees it; of a long one that is not ASCII, the windows are folded one by one."""
    text = bounded(text, config.max_characters, config.head_share)
    if text.isascii():
        return text
    # Most English texts are ASCII without their quotation marks and dashes.
    text = text.translate(_AS_READ)
    if text.isascii() or len(text) > FOLDED_AT_ONCE:
        return text
    # Bounded once more: compatibility forms can become many times longer.
    return bounded(visible(text), min(config.max_characters, FOLDED_AT_ONCE), config.head_share)


def checked_messages(prompt: Any, index: int) -> Sequence[Message]:
    """The messages of a conversation. Raises PromptError saying which one is none."""
    if not isinstance(prompt, Sequence) or isinstance(prompt, (bytes, bytearray)):
        raise PromptError(f"it is a {type(prompt).__name__}; it must be a string or a list of messages", index=index)
    for place, message in enumerate(prompt):
        if not isinstance(message, Mapping):
            raise PromptError(f"message {place} is a {type(message).__name__}; it must be a dict", index=index)
        role = message.get("role")
        if not isinstance(role, str) or role not in ROLES:
            raise PromptError(f"message {place} has role {role!r}; allowed: {', '.join(sorted(ROLES))}", index=index)
    return prompt


def message_text(message: Message, index: int) -> str:
    """The text of a message; parts that are no text, and a missing content, count as empty."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if not isinstance(content, Sequence) or isinstance(content, (bytes, bytearray)):
        raise PromptError(
            f"a {message['role']} message has content of type {type(content).__name__}; "
            "it must be a string, a list of parts, or None",
            index=index,
        )
    return "\n".join(text for part in content if (text := part_text(part, index)) is not None)


def part_text(part: Any, index: int) -> str | None:
    """The text of a content part; None for an image or another part that is no text."""
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        raise PromptError(f"a content part is a {type(part).__name__}; it must be a dict or a string", index=index)
    if part.get("type") not in _TEXT_PARTS:
        return None
    text = part.get("text")
    if not isinstance(text, str):
        raise PromptError(f"a text part has text of type {type(text).__name__}; it must be a string", index=index)
    return text


def bounded(text: str, most: int, head_share: float) -> str:
    """The start and the end of a text, together at most `most` characters."""
    if len(text) <= most:
        return text
    head = int(most * head_share)
    return text[:head] + text[len(text) - (most - head) :]


def visible(text: str) -> str:
    """The text as a reader sees it: compatibility forms and typographic marks folded, invisible characters gone.

    Halves of surrogate pairs are replaced.
    """
    if text.isascii():
        return text
    return without_half_pairs(unicodedata.normalize("NFKC", text).translate(_AS_READ))

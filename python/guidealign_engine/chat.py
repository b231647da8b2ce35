"""How a conversation becomes one text or one row of token ids for a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from guidealign_engine.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """The control text around the messages of a conversation.

    `turn` opens a message, with {role} in it; `end` closes it; `answer` opens the assistant's turn.
    `controls` are the strings that only the format itself may write: in text they are broken up wherever a message
    holds them, in token ids a message can never produce them.
    """

    start: str
    turn: str
    end: str
    answer: str
    controls: tuple[str, ...]


CHAT_FORMATS: Mapping[str, ChatFormat] = {
    "chatml": ChatFormat(
        start="",
        turn="<|im_start|>{role}\n",
        end="<|im_end|>\n",
        answer="<|im_start|>assistant\n",
        controls=("<|im_start|>", "<|im_end|>"),
    ),
    "llama3": ChatFormat(
        start="<|begin_of_text|>",
        turn="<|start_header_id|>{role}<|end_header_id|>\n\n",
        end="<|eot_id|>",
        answer="<|start_header_id|>assistant<|end_header_id|>\n\n",
        controls=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
}


def choose_chat_format(value: str | ChatFormat | None) -> ChatFormat | None:
    """A format by name, or the one that is given. Raises ConfigError for an unknown name."""
    if value is None or isinstance(value, ChatFormat):
        return value
    if value not in CHAT_FORMATS:
        raise ConfigError(f"chat_format is {value!r}; allowed: {', '.join(CHAT_FORMATS)}, or a ChatFormat")
    return CHAT_FORMATS[value]

"""Prompts from arguments, files and standard input, read as they are needed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import typer

from guidealign_engine.errors import ArtifactError, ConfigError, PromptError
from guidealign_engine.query import Prompt
from guidealign_engine.results import Batch

_FIELDS = ("prompt", "text", "messages")
_MAX_LINE_BYTES = 32 << 20

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class PlacedPrompt:
    """A prompt, and where it stands, for messages to people."""

    place: str
    prompt: Prompt


def read_prompts(arguments: Sequence[str] | None, file: str | None) -> Iterator[PlacedPrompt]:
    """The arguments, or the lines of a file, or of standard input when it is no terminal.

    Raises BadParameter when there is nothing to read or too much; while reading, ConfigError naming the line.
    """
    if arguments and file is not None:
        raise typer.BadParameter("give prompts as arguments or a --file, not both")
    if arguments:
        return (PlacedPrompt(f"argument {number}", _whole(text)) for number, text in enumerate(arguments, start=1))
    if file is not None and file != "-":
        return _file_prompts(Path(file))
    if file is None and sys.stdin.isatty():
        raise typer.BadParameter("there is no prompt; give one as an argument, in a --file, or on standard input")
    return _line_prompts(sys.stdin.buffer, "standard input")


def answered(
    prompts: Iterator[PlacedPrompt], batch_size: int, answer: Callable[[Sequence[Prompt]], Batch[Answer]]
) -> Iterator[tuple[list[PlacedPrompt], Batch[Answer]]]:
    """Each batch with its answers. Raises ConfigError naming the place of a prompt that cannot be read."""
    while batch := list(islice(prompts, batch_size)):
        try:
            answers = answer([item.prompt for item in batch])
        except PromptError as error:
            message = str(error).removeprefix(f"prompt {error.index}: ")
            raise ConfigError(f"{batch[error.index].place}: {message}") from error
        yield batch, answers


def _file_prompts(file: Path) -> Iterator[PlacedPrompt]:
    try:
        opened = file.open("rb")
    except OSError as error:
        raise ArtifactError(f"the file cannot be read: {error.strerror}", file=file) from error
    with opened:
        yield from _line_prompts(opened, str(file))


def _line_prompts(lines: BinaryIO, source: str) -> Iterator[PlacedPrompt]:
    number = 0
    while line := lines.readline(_MAX_LINE_BYTES + 1):
        number += 1
        place = f"{source}, line {number}"
        if len(line) > _MAX_LINE_BYTES:
            raise ConfigError(f"{place}: the line has over {_MAX_LINE_BYTES} bytes")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{place}: not UTF-8 ({error.reason} at byte {error.start})") from error
        if text.strip():
            yield PlacedPrompt(place, _line_prompt(text, place))


def _line_prompt(line: str, place: str) -> Prompt:
    """What a line of JSON holds; any other line is a prompt as it stands."""
    start = line.lstrip()
    if start[0] not in '{["':
        return line
    try:
        value = json.loads(start)
        if "\\ud" in start or "\\uD" in start:
            value = json.loads(_whole(json.dumps(value, ensure_ascii=False)))
    except (ValueError, RecursionError):
        return line
    if isinstance(value, dict):
        field = next((name for name in _FIELDS if name in value), None)
        if field is None:
            raise ConfigError(f"{place}: the object has none of {', '.join(_FIELDS)}; its fields are {_some(value)}")
        return _prompt(value[field], f"{place}: {field}")
    return _prompt(value, f"{place}: the prompt")


def _prompt(value: Any, place: str) -> Prompt:
    if isinstance(value, (str, list)):
        return value
    raise ConfigError(f"{place} is a {type(value).__name__}; it must be a string or a list of messages")


def _whole(text: str) -> str:
    """The text with halves of surrogate pairs replaced, which no encoding can carry."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _some(fields: dict[str, Any]) -> str:
    return ", ".join(list(fields)[:8])[:100] or "none"

"""What people and programs see: tables by rich, or one JSON object a prompt."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from guidealign_engine.commands.prompts import PlacedPrompt
from guidealign_engine.query import Prompt, message_text, part_text
from guidealign_engine.results import Batch, GuidedPrompt, Retrieval

_HEADLINE_CHARACTERS = 240
_WHY_CHARACTERS = 90
_FEWEST_COLUMNS = 100
# A prompt may hold what moves a terminal's cursor or worse; line breaks and tabs stay.
_CONTROLS = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)], "�")

Answer = TypeVar("Answer")
Batches = Iterator[tuple[list[PlacedPrompt], Batch[Answer]]]


def print_json(batches: Batches[Answer], record: Callable[[Answer], dict[str, Any]]) -> None:
    """One object a prompt, each on its own line, as soon as its batch is answered."""
    for prompts, answers in batches:
        times = {stage: round(us / len(prompts), 2) for stage, us in answers.timings_us.items()}
        for item, answer in zip(prompts, answers, strict=True):
            sys.stdout.write(json_line({"prompt": item.prompt, **record(answer), "timings_us": times}))
        sys.stdout.flush()


def json_line(value: Mapping[str, Any]) -> str:
    """JSON on one line, in its own script where standard output can carry it."""
    line = json.dumps(value, ensure_ascii=False)
    try:
        line.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        line = json.dumps(value)
    return line + "\n"


def print_for_people(batches: Batches[Answer], show: Callable[[Console, Prompt, Answer], None]) -> None:
    """Each prompt with its answer, and at the end the time that each stage took."""
    console = stdout()
    count, times = 0, dict[str, float]()
    for prompts, answers in batches:
        for item, answer in zip(prompts, answers, strict=True):
            show(console, item.prompt, answer)
            console.print()
        count += len(prompts)
        for stage, us in answers.timings_us.items():
            times[stage] = times.get(stage, 0.0) + us
    if count:
        console.print(_times(count, times))
    else:
        console.print("there were no prompts")


def stdout() -> Console:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = max(console.width, _FEWEST_COLUMNS)
    return console


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Reports go to standard error; on a terminal the indented ones replace each other beside a spinner."""
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    with console.status("starting") as status:

        def report(line: str) -> None:
            status.update(Text(line.strip()))
            if not console.is_terminal or not line.startswith(" "):
                console.print(line, soft_wrap=True)

        yield report


def retrieval(console: Console, prompt: Prompt, found: Retrieval) -> None:
    """The prompt in short, and a table of its guidelines."""
    console.print(Text(_headline(prompt), style="bold"))
    console.print(_guidelines(found))


def guided_prompt(console: Console, prompt: Prompt, guided: GuidedPrompt) -> None:
    """The finished prompt in full, and a table of its guidelines."""
    console.print(Panel(_finished(guided.prompt), title=Text(_headline(prompt)[:60]), title_align="left"))
    console.print(_guidelines(guided.retrieval))


def table(rows: Sequence[tuple[str, str]]) -> Table:
    """Names and values."""
    grid = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(Text(plain(name)), Text(plain(value)))
    return grid


def plain(text: str) -> str:
    """The text without what a terminal would take for a command."""
    return text.translate(_CONTROLS)


def _guidelines(found: Retrieval) -> Table | Text:
    if not found.guidelines:
        return Text("no guideline fits", style="dim")
    rows = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    rows.add_column("score", justify="right", no_wrap=True)
    rows.add_column("kind", no_wrap=True)
    rows.add_column("id", overflow="fold", ratio=3)
    rows.add_column("title", ratio=3)
    rows.add_column("why", style="dim", ratio=4)
    for guideline in found.guidelines:
        own = guideline.matched.startswith(f"{guideline.title}: ")
        why = "its own text" if own else f"“{_short(guideline.matched, _WHY_CHARACTERS)}”"
        cells = (f"{guideline.score:.3f}", guideline.kind, guideline.id, guideline.title, why)
        rows.add_row(*[Text(plain(cell)) for cell in cells])
    return rows


def _finished(prompt: Any) -> Text:
    if isinstance(prompt, np.ndarray):
        return Text(f"{len(prompt)} token ids\n{' '.join(map(str, prompt.tolist()))}")
    if isinstance(prompt, str):
        return Text(plain(prompt))
    lines = Text()
    for place, message in enumerate(prompt):
        lines.append("\n\n" if place else "")
        lines.append(f"{message['role']}\n", style="bold cyan")
        lines.append(plain(_content(message.get("content"))))
    return lines


def _content(content: Any) -> str:
    """All parts of a message; those that are no text as JSON."""
    if isinstance(content, str) or content is None:
        return content or ""
    texts = [(part_text(part, 0), part) for part in content]
    return "\n".join(json.dumps(part, ensure_ascii=False) if text is None else text for text, part in texts)


def _headline(prompt: Prompt) -> str:
    if isinstance(prompt, str):
        return _short(prompt, _HEADLINE_CHARACTERS)
    newest = next((message for message in reversed(prompt) if message["role"] == "user"), None)
    spoken = "" if newest is None else message_text(newest, 0)
    return _short(f"conversation of {len(prompt)}: {spoken}", _HEADLINE_CHARACTERS)


def _short(text: str, characters: int) -> str:
    line = plain(" ".join(text.split()))
    return line if len(line) <= characters else f"{line[: characters - 1]}…"


def _times(count: int, times: Mapping[str, float]) -> Table:
    rows = [(stage, us / count) for stage, us in times.items()]
    rows.append(("together", sum(times.values()) / count))
    title = "microseconds for the prompt" if count == 1 else f"microseconds a prompt, over {count} prompts"
    grid = Table(
        title=title, title_justify="left", title_style="dim", box=None, padding=(0, 2, 0, 0), header_style="dim"
    )
    for stage, _ in rows:
        grid.add_column(stage, justify="right")
    grid.add_row(*[f"{us:.0f}" for _, us in rows])
    return grid

"""Tables and lists that the commands of `guidealign library` print for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from guidealign_engine.commands.show import plain

_BAR = 40


def grid(headers: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1, note: bool = False) -> Table:
    """The first `left` columns are names, the others figures on the right side; a note is a last column of words."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for place, header in enumerate(headers):
        if note and place == len(headers) - 1:
            table.add_column(header, style="dim", ratio=1)
        else:
            table.add_column(header, justify="left" if place < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*[Text(plain(cell)) for cell in row])
    return table


def heading(console: Console, text: str) -> None:
    """A line in bold, with room above it."""
    console.print()
    console.print(Text(plain(text), style="bold"))


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def counted(counts: Mapping[str, int], *, most: int = 20) -> str:
    """The first names with their counts on one line, and how many more there are."""
    shown = ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:most])
    return _and_more(shown, len(counts) - most)


def listed(names: Sequence[str], *, most: int = 20) -> str:
    """The first names on one line, and how many more there are."""
    return _and_more(", ".join(names[:most]), len(names) - most)


def short(text: str, characters: int) -> str:
    """The beginning of the text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= characters else f"{line[: characters - 1]}…"


def bars(counts: Mapping[str, int]) -> list[tuple[str, str, str]]:
    """Name, count, and a bar of a length that fits it."""
    highest = max(counts.values(), default=1)
    return [(name, f"{count:,}", "#" * -(-_BAR * count // highest)) for name, count in counts.items()]


def _and_more(shown: str, more: int) -> str:
    return f"{shown}, and {more:,} more" if more > 0 else shown

"""A difference between two libraries, printed for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from guidealign_engine.commands.library_tables import heading, percent, short
from guidealign_engine.commands.show import plain
from guidealign_engine.query import message_text

_ADDED, _REMOVED = "green", "red"
_EXAMPLE_CHARACTERS, _PROMPT_CHARACTERS = 160, 240


def print_diff(console: Console, record: Mapping[str, Any]) -> None:
    """The guidelines first, then the prompts; `record` is what --json prints."""
    console.print(Text(plain(f"{record['a']} → {record['b']}")), soft_wrap=True)
    console.print(_summary(record))
    for sign, name, colour in (("+", "added", _ADDED), ("-", "removed", _REMOVED)):
        if record[name]:
            heading(console, f"{name}: {len(record[name])}")
        for guideline in record[name]:
            about = f"{sign} {guideline['id']}  {guideline['title']} ({guideline['kind']}, {guideline['category']})"
            console.print(Text(plain(about), style=colour))
            console.print(Text(plain(f"    {guideline['text']}"), style="dim"))
    for name in ("moved", "changed"):
        if record[name]:
            heading(console, f"{name}: {len(record[name])}")
        for change in record[name]:
            console.print(Text(plain(change["id"]), style="bold"))
            for field, values in change["fields"].items():
                _print_field(console, field, values["before"], values["after"])
    if record["prompts"] is not None:
        _print_prompts(console, record["prompts"])


def _summary(record: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{len(record[name]):,} {name}" for name in ("added", "removed", "changed", "moved"))
    order = "; those in both stand in another order" if record["reordered"] else ""
    return f"{counts}, {record['unchanged']:,} unchanged{order}"


def _print_field(console: Console, field: str, before: Any, after: Any) -> None:
    if field in ("title", "text"):
        change = _words(before, after)
    elif isinstance(before, Sequence) and not isinstance(before, str):
        change = _items(before, after)
    else:
        change = Text.assemble((_value(before), _REMOVED), " → ", (_value(after), _ADDED))
    space = "" if change.plain.startswith("\n") else " "
    console.print(Text.assemble((f"  {field}:", "dim"), space, change))


def _value(value: str | float) -> str:
    return f"{value:g}" if isinstance(value, float) else plain(value) or "(none)"


def _words(before: str, after: str) -> Text:
    """As git diff --word-diff: [-taken out-]{+put in+}."""
    from guidealign_engine.offline.guidelines.word_diff import Edit, word_diff

    marks = {Edit.REMOVED: ("[-", "-]", _REMOVED), Edit.ADDED: ("{+", "+}", _ADDED)}
    line = Text()
    for segment in word_diff(plain(before), plain(after)):
        opening, closing, style = marks.get(segment.edit, ("", "", "none"))
        bare = segment.text.lstrip() if opening else segment.text
        line.append(segment.text[: len(segment.text) - len(bare)])
        line.append(f"{opening}{bare}{closing}", style=style)
    return line


def _items(before: Sequence[str], after: Sequence[str]) -> Text:
    """Items of a list that went and came, a line each."""
    went, came = [one for one in before if one not in after], [one for one in after if one not in before]
    if not (went or came):
        return Text("in another order, or another number of times")
    lines = Text()
    for sign, items, style in (("-", went, _REMOVED), ("+", came, _ADDED)):
        for item in items:
            lines.append(plain(f"\n    {sign} {short(item, _EXAMPLE_CHARACTERS)}"), style=style)
    return lines


def _print_prompts(console: Console, answers: Mapping[str, Any]) -> None:
    if not answers["prompts"]:
        heading(console, "there were no prompts")
        return
    heading(
        console,
        f"prompts: {percent(answers['unchanged_share'])} of {answers['prompts']:,} get the same guidelines, "
        f"mean Jaccard {answers['mean_jaccard']:.3f}",
    )
    console.print(Text(plain(answers["asked"]), style="dim"))
    if answers["reworded"]:
        console.print(f"{answers['reworded']:,} of those with the same guidelines read a changed text")
    for change in answers["changed"]:
        console.print()
        console.print(Text(plain(short(_spoken(change["prompt"]), _PROMPT_CHARACTERS))))
        for sign, items, style in (("-", change["went"], _REMOVED), ("+", change["came"], _ADDED)):
            for one in items:
                console.print(Text(plain(f"    {sign} {one['id']}  {one['title']} ({one['kind']})"), style=style))


def _spoken(prompt: Any) -> str:
    """A prompt as it is, a conversation by its newest user turn."""
    if isinstance(prompt, str):
        return prompt
    newest = next((message for message in reversed(prompt) if message["role"] == "user"), None)
    return f"conversation of {len(prompt)}: {'' if newest is None else message_text(newest, 0)}"

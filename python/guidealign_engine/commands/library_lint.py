"""`guidealign library lint`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from guidealign_engine.commands import show
from guidealign_engine.commands.library_tables import counted
from guidealign_engine.commands.options import AsJson
from guidealign_engine.commands.prompts import read_prompts

_LENGTHS = "Lengths"
_LIKENESS = "Likeness"
_SHOWN_PER_RULE = 20
_STYLES = {"error": "red", "warning": "yellow"}


class FailOn(StrEnum):
    """From which severity the command ends with 1."""

    ERROR = "error"
    WARNING = "warning"


def lint(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="JSON lines of guidelines, or folders.")],
    pairs: Annotated[
        list[Path] | None,
        typer.Option("--pairs", metavar="FILE_OR_DIR", help="Held-out inputs, which no example may equal; repeatable."),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option("--inputs", metavar="FILE", help="What users ask, a line each, to see which guidelines it finds."),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", "-b", metavar="DIR", help="Bundle whose encoder is used; without it, the starter's."),
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="RULE", help="A rule to switch off; may be repeated.")
    ] = None,
    fail_on: Annotated[
        FailOn, typer.Option("--fail-on", help="From which severity on the command ends with 1.")
    ] = FailOn.ERROR,
    ratio: Annotated[
        float,
        typer.Option("--ratio", metavar="X", help="Indel ratio of near-duplicates.", rich_help_panel=_LIKENESS),
    ] = 0.75,
    likeness: Annotated[
        float,
        typer.Option(
            "--likeness", metavar="X", help="Cosine of guidelines that may contradict.", rich_help_panel=_LIKENESS
        ),
    ] = 0.7,
    k: Annotated[
        int,
        typer.Option("--k", "-k", min=1, help="Among how many an input finds a guideline.", rich_help_panel=_LIKENESS),
    ] = 6,
    hub_factor: Annotated[
        float,
        typer.Option(
            "--hub-factor",
            metavar="X",
            min=1.0,
            help="How many times as many inputs as on average find a hub.",
            rich_help_panel=_LIKENESS,
        ),
    ] = 8.0,
    most_examples: Annotated[
        int,
        typer.Option("--most-examples", min=1, help="Own examples that are searched for.", rich_help_panel=_LIKENESS),
    ] = 20_000,
    longest_title: Annotated[
        int, typer.Option("--longest-title", min=1, help="Characters of a title.", rich_help_panel=_LENGTHS)
    ] = 100,
    longest_text: Annotated[
        int, typer.Option("--longest-text", min=1, help="Characters of a text.", rich_help_panel=_LENGTHS)
    ] = 600,
    longest_example: Annotated[
        int, typer.Option("--longest-example", min=1, help="Characters of an example.", rich_help_panel=_LENGTHS)
    ] = 8_000,
    fewest_examples: Annotated[
        int, typer.Option("--fewest-examples", min=0, help="Examples of a guideline.", rich_help_panel=_LENGTHS)
    ] = 3,
    as_json: AsJson = False,
) -> None:
    """Look for what makes a library of guidelines unfit to be shipped. Ends with 1 when there are errors.

    Errors: bad-record, duplicate-id, near-duplicate, override, link, control-token, delimiter,
    hidden-character, empty-field, held-out-leak, unknown-id.

    Warnings: long-field, no-category, few-examples, shared-example, repeated-example,
    unreached, hub, contradiction.

    guidealign library lint guidelines/ --pairs held-out.jsonl

    guidealign library lint policy.jsonl --ignore link --fail-on warning --json
    """
    from guidealign_engine.offline.guidelines.findings import Severity, choose_rules
    from guidealign_engine.offline.guidelines.lint import LintOptions, lint_library
    from guidealign_engine.offline.guidelines.lint_meaning import MeaningLimits
    from guidealign_engine.offline.guidelines.lint_texts import Lengths

    options = LintOptions(
        rules=choose_rules(ignore or ()),
        lengths=Lengths(
            title=longest_title, text=longest_text, example=longest_example, fewest_examples=fewest_examples
        ),
        ratio=ratio,
        meaning=MeaningLimits(likeness=likeness, k=k, hub_factor=hub_factor, most_examples=most_examples),
    )
    asked = [] if inputs is None else [_text_of(item.prompt) for item in read_prompts(None, str(inputs))]
    with show.progress() as report:
        linted = lint_library(files, options, pairs=pairs or (), inputs=asked, bundle=bundle, report=report)
    errors, warnings = linted.count(Severity.ERROR), linted.count(Severity.WARNING)
    found = [finding.as_dict() for finding in linted.findings]
    if as_json:
        record = {"guidelines": linted.guidelines, "errors": errors, "warnings": warnings, "findings": found}
        typer.echo(show.json_line(record), nl=False)
    else:
        _print_findings(found)
        typer.echo(f"{linted.guidelines:,} guidelines: {_many(errors, 'error')}, {_many(warnings, 'warning')}")
    if errors or (warnings and fail_on is FailOn.WARNING):
        raise typer.Exit(1)


def _text_of(prompt: Any) -> str:
    """What a prompt is searched by."""
    from guidealign_engine.config import QueryConfig
    from guidealign_engine.query import query_texts

    return query_texts([prompt], QueryConfig())[0]


def _print_findings(found: Sequence[Mapping[str, Any]]) -> None:
    console = show.stdout()
    shown = Counter[str]()
    for finding in found:
        shown[finding["rule"]] += 1
        if shown[finding["rule"]] <= _SHOWN_PER_RULE:
            console.print(_line(finding), soft_wrap=True)
    more = {rule: count - _SHOWN_PER_RULE for rule, count in shown.items() if count > _SHOWN_PER_RULE}
    if more:
        console.print(Text(f"not shown, and in --json: {counted(more)}", style="dim"))


def _line(finding: Mapping[str, Any]) -> Text:
    line = Text(show.plain(f"{finding['file']}:{finding['line']}: "), style="dim")
    line.append(f"{finding['severity']} {finding['rule']}", style=_STYLES[finding["severity"]])
    line.append(show.plain(f" {finding['id']}" if finding["id"] else ""), style="bold")
    line.append(show.plain(f": {finding['message']}. Next: {finding['next_step']}."))
    return line


def _many(count: int, name: str) -> str:
    return f"{count:,} {name}" if count == 1 else f"{count:,} {name}s"

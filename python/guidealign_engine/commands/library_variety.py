"""`guidealign library variety`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from guidealign_engine.commands import show
from guidealign_engine.commands.library_tables import bars, counted, grid, heading, percent, short
from guidealign_engine.commands.options import AsJson
from guidealign_engine.errors import GuidealignError
from guidealign_engine.guideline_files import read_guidelines

_PAIRS_SHOWN = 5
_TEXT_CHARACTERS = 160

# Name, how to show it, and what would be bad; {} is the highest ratio allowed. What templates give was measured on 280
# texts made out of ten sentences with two gaps, filled with the titles of real guidelines.
_FIGURES: tuple[tuple[str, Callable[[Mapping[str, Any]], str], str], ...] = (
    ("how many", lambda pool: f"{pool['count']:,}", ""),
    (
        "distinct runs of four words",
        lambda pool: percent(pool["grams"]["distinct"]),
        "Far below 95 %: whole phrases come again. Texts out of ten templates have 59 %.",
    ),
    (
        "nearest other, median",
        lambda pool: f"{pool['nearest']['median']:.3f}",
        "Above 0.6: texts are variants of a few. Texts out of ten templates have 0.74, unrelated ones below 0.5.",
    ),
    (
        "nearest other, highest",
        lambda pool: f"{pool['nearest']['highest']:.3f}",
        "From {} on, two are copies of each other with some words changed.",
    ),
    ("pairs from {} on", lambda pool: f"{len(pool['too_near']):,}", "Any: rewrite one of the two, or leave it out."),
    (
        "words, mean",
        lambda pool: f"{pool['words']['mean']:g}",
        "Texts above 40: they crowd a prompt. Inputs above 30: people write shorter ones.",
    ),
    (
        "words, 5 % to 95 %",
        lambda pool: f"{pool['words']['p5']:g} to {pool['words']['p95']:g}",
        "A narrow span in inputs: they were made to one measure.",
    ),
    (
        "commonest first word",
        lambda pool: percent(pool["first_word"]["share"]),
        "Over 10 % of texts: they open as a form does.",
    ),
    (
        "commonest first two words",
        lambda pool: percent(pool["first_two_words"]["share"]),
        "Over 5 % of texts. Texts out of ten templates have 12 %.",
    ),
    (
        "share a sentence skeleton",
        lambda pool: percent(pool["skeletons"]["share"]),
        "Over 10 %: the same sentences with other nouns and verbs. Texts out of ten templates have 44 %.",
    ),
    (
        "different words among 50",
        lambda pool: _percent_or_dash(pool["different_in_window"]),
        "Below 70 %: poor in words. Texts out of one template have 60 %.",
    ),
)


def variety(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="JSON lines of guidelines, or folders.")],
    pairs: Annotated[
        list[Path] | None,
        typer.Option("--pairs", metavar="FILE_OR_DIR", help="Held-out inputs, compared too; may be repeated."),
    ] = None,
    max_ratio: Annotated[
        float | None,
        typer.Option(
            "--max-ratio",
            metavar="X",
            min=0.0,
            max=1.0,
            help="End with 1 when a text or an input is as like to another one as this, such as 0.75.",
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw the distributions; also .svg and .pdf.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prove that no text comes out of a template: figures by which a template would betray itself.

    Compares every text with every other one, and every input: 8,000 inputs take seconds, ten times as many a hundred
    times as long.

    guidealign library variety guidelines/ --plot variety.png

    guidealign library variety guidelines/ --pairs pairs/ --max-ratio 0.75
    """
    from guidealign_engine.offline.guidelines.plot_variety import plot_variety
    from guidealign_engine.offline.guidelines.plots import check_plot_file
    from guidealign_engine.offline.guidelines.variety import MAX_RATIO, measure_variety
    from guidealign_engine.pairs import read_pairs

    if plot is not None:
        check_plot_file(plot)
    with show.progress() as report:
        report("  reading")
        records = read_guidelines(files)
        held_out = read_pairs(pairs) if pairs else []
        measured = measure_variety(
            records, held_out, max_ratio=MAX_RATIO if max_ratio is None else max_ratio, report=report
        )
        if plot is not None:
            report("  drawing")
            plot_variety(measured, plot)
    record = measured.as_dict()
    if as_json:
        typer.echo(show.json_line(record), nl=False)
    else:
        _print_variety(show.stdout(), record)
    texts, inputs = measured.texts.too_near, measured.inputs.too_near
    if max_ratio is not None and (texts or inputs):
        raise GuidealignError(
            f"{len(texts)} pairs of texts and {len(inputs)} of inputs reach --max-ratio {max_ratio:g}; the nearest are "
            f"{' and '.join((texts or inputs)[0].places)}: rewrite one of the two"
        )


def _print_variety(console: Console, record: Mapping[str, Any]) -> None:
    texts, inputs = record["texts"], record["inputs"]
    console.print(grid(("", "texts", "inputs", "what would be bad"), _figures(record), note=True))
    for name, pool in (("texts", texts), ("inputs", inputs)):
        heading(console, f"{name}: likeness to the nearest other one")
        steps = {f"from {low}": count for low, count in pool["nearest_histogram"].items()}
        console.print(grid(("Indel ratio", name, ""), bars(steps), note=True))
    for name, pool in (("texts", texts), ("inputs", inputs)):
        heading(console, f"{name}: the nearest pairs")
        console.print(grid(("ratio", "whose", "text"), _pairs(pool["nearest_pairs"]), left=2, note=True))
    heading(console, "what comes most often")
    console.print(show.table([*_commonest("texts", texts), *_commonest("inputs", inputs)]))
    heading(console, "words of the texts by category")
    console.print(_categories(record["categories"]))


def _figures(record: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    limit = f"{record['max_ratio']:g}"
    return [
        (name.format(limit), figure(record["texts"]), figure(record["inputs"]), bad.format(limit))
        for name, figure, bad in _FIGURES
    ]


def _pairs(pairs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    rows = []
    for pair in pairs[:_PAIRS_SHOWN]:
        for number, (place, text) in enumerate(zip(pair["places"], pair["texts"], strict=True)):
            rows.append(("" if number else f"{pair['ratio']:.3f}", place, short(text, _TEXT_CHARACTERS)))
    return rows


def _commonest(name: str, pool: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (f"{name}, first word", counted(pool["first_word"]["commonest"])),
        (f"{name}, first two words", counted(pool["first_two_words"]["commonest"])),
        (f"{name}, four words", counted(pool["grams"]["repeated"]) or "none twice"),
        (f"{name}, skeleton", counted(pool["skeletons"]["commonest"]) or "none twice"),
    ]


def _categories(categories: Sequence[Mapping[str, Any]]) -> Any:
    headers = ("kind", "category", "guidelines", "words", "different", "ratio", "different among 50")
    rows = []
    for row in categories:
        counts = [f"{row[name]:,}" for name in ("guidelines", "words", "different")]
        shares = [f"{row['ratio']:.2f}", _percent_or_dash(row["different_in_window"])]
        rows.append([row["kind"], row["category"] or "(none)", *counts, *shares])
    return grid(headers, rows, left=2)


def _percent_or_dash(share: float | None) -> str:
    return "-" if share is None else percent(share)

"""`guidealign library stats`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from guidealign_engine.commands import show
from guidealign_engine.commands.library_tables import bars, counted, grid, heading, listed, percent, short
from guidealign_engine.commands.options import AsJson
from guidealign_engine.guideline_files import read_guidelines
from guidealign_engine.library import GuidelineRecord

_SPREAD = ("mean", "lowest", "p5", "median", "p95", "highest")


def stats(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="JSON lines of guidelines, or folders.")],
    pairs: Annotated[
        list[Path] | None,
        typer.Option("--pairs", metavar="FILE_OR_DIR", help="Held-out inputs, to see what lacks one; may be repeated."),
    ] = None,
    coverage: Annotated[
        Path | None,
        typer.Option(
            "--coverage",
            metavar="FILE",
            help="JSON lines that say which guidelines fit a risk: taxonomy, risk, title, guidelines (ids, or none).",
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw what is covered; also .svg and .pdf.")
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", metavar="N", min=1, help="Instead print N guidelines drawn at random, to read."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Decides which ones --sample draws.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Count what a library holds: kinds, categories, tags, lengths, scripts, and what lacks held-out inputs.

    A file with a bad record is refused, because figures over a part would mislead.

    guidealign library stats guidelines/ --pairs pairs/ --plot library.png

    guidealign library stats guidelines/ --coverage air-2024.jsonl

    guidealign library stats guidelines/ --sample 100 --seed 7
    """
    from guidealign_engine.offline.guidelines.coverage import measure_coverage, read_coverage
    from guidealign_engine.offline.guidelines.plot_library import plot_library
    from guidealign_engine.offline.guidelines.plots import check_plot_file
    from guidealign_engine.offline.guidelines.stats import draw, measure_library
    from guidealign_engine.pairs import read_pairs

    if sample is not None:
        if pairs or coverage or plot:
            raise typer.BadParameter("--sample prints guidelines; leave out --pairs, --coverage and --plot")
        _print_guidelines(draw(read_guidelines(files), sample, seed=seed), as_json=as_json)
        return
    if plot is not None:
        check_plot_file(plot)
    with show.progress() as report:
        report("  reading")
        records = read_guidelines(files)
        held_out = read_pairs(pairs) if pairs else None
        covered = None if coverage is None else measure_coverage(read_coverage(coverage, {one.id for one in records}))
        report("  counting")
        measured = measure_library(records, held_out)
        if plot is not None:
            report("  drawing")
            plot_library(measured, plot)
    record = measured.as_dict()
    record["coverage"] = None if covered is None else {one.taxonomy: one.as_dict() for one in covered}
    if as_json:
        typer.echo(show.json_line(record), nl=False)
    else:
        _print_stats(show.stdout(), record)


def _print_guidelines(records: Sequence[GuidelineRecord], *, as_json: bool) -> None:
    console = show.stdout()
    for number, record in enumerate(records):
        if as_json:
            typer.echo(show.json_line(asdict(record)), nl=False)
            continue
        if number:
            console.print()
        console.print(Text(show.plain(record.title), style="bold"))
        about = " · ".join([record.id, record.kind, record.category, *record.tags])
        console.print(Text(show.plain(about), style="dim"))
        console.print(Text(show.plain(record.text)))
        for example in record.examples:
            console.print(Text(f"  - {show.plain(example)}".replace("\n", "\n    ")))


def _print_stats(console: Console, record: Mapping[str, Any]) -> None:
    scripts, held_out = record["scripts"], record["held_out"]
    rows = [
        ("guidelines", f"{record['guidelines']:,}: {counted(record['kinds'])}"),
        ("examples", f"{record['examples']:,}"),
        ("scripts", counted(scripts["scripts"])),
        ("beyond ASCII", f"{percent(scripts['beyond_ascii'])} of examples have other letters than a to z"),
        ("not Latin", f"{percent(scripts['beyond_latin'])} of examples"),
        ("tags", f"{len(record['tags']):,}: {counted(record['tags'])}"),
    ]
    console.print(show.table(rows if held_out is None else rows + _held_out_rows(held_out)))
    heading(console, "by kind and category")
    console.print(_categories(record["categories"]))
    heading(console, "lengths")
    lengths = [
        [name.replace("_", " "), *(f"{spread[figure]:g}" for figure in _SPREAD)]
        for name, spread in record["lengths"].items()
    ]
    console.print(grid(("", "mean", "lowest", "5 %", "median", "95 %", "highest"), lengths))
    heading(console, "examples a guideline")
    counts = {str(examples): count for examples, count in record["examples_per_guideline"].items()}
    console.print(grid(("examples", "guidelines", ""), bars(counts), note=True))
    if record["coverage"] is not None:
        _print_coverage(console, record["coverage"])


def _held_out_rows(held_out: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [("held out", f"{sum(held_out['inputs'].values()):,}: {counted(held_out['inputs'])}")]
    for name in ("without_guideline", "with_several"):
        rows.append((name.replace("_", " "), counted(held_out[name])))
    rows += [(f"lacking {split}", _some(ids)) for split, ids in held_out["lacking"].items()]
    if held_out["unknown"]:
        rows.append(("unknown ids", f"{len(held_out['unknown']):,} in pairs: {counted(held_out['unknown'])}"))
    if held_out["indexed"]:
        shown = listed([short(text, 80) for text in held_out["indexed"]], most=3)
        rows.append(("not held out", f"{len(held_out['indexed']):,} dev and test inputs are examples too: {shown}"))
    return rows


def _some(ids: Sequence[str]) -> str:
    return f"{len(ids):,}: {listed(ids)}" if ids else "none"


def _categories(categories: Sequence[Mapping[str, Any]]) -> Any:
    splits = list(categories[0]["held_out"] or {})
    headers = ["kind", "category", "guidelines", "examples", "words", *splits, *(f"lack {split}" for split in splits)]
    rows = []
    for row in categories:
        figures = [f"{row['guidelines']:,}", f"{row['examples']:,}", f"{row['mean_words']:g}"]
        figures += [f"{row['held_out'][split]:,}" for split in splits]
        figures += [f"{row['lacking'][split] or '-'}" for split in splits]
        rows.append([row["kind"], row["category"] or "(none)", *figures])
    return grid(headers, rows, left=2)


def _print_coverage(console: Console, coverage: Mapping[str, Any]) -> None:
    heading(console, "risks covered")
    rows = [
        (taxonomy, f"{found['risks']:,}", f"{found['covered']:,}", percent(found["share"]))
        for taxonomy, found in coverage.items()
    ]
    console.print(grid(("taxonomy", "risks", "covered", "share"), rows))
    for taxonomy, found in coverage.items():
        if found["uncovered"]:
            heading(console, f"not covered of {taxonomy}")
            console.print(grid(("risk", "title"), [(one["risk"], one["title"]) for one in found["uncovered"]], left=2))

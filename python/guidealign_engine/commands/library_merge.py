"""`guidealign library merge`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer

from guidealign_engine.commands import show
from guidealign_engine.commands.library_tables import counted
from guidealign_engine.commands.options import AsJson
from guidealign_engine.errors import ArtifactError

_WAYS = ("id", "text", "meaning")


def merge(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="JSON lines of raw guidelines, or folders.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="JSON lines of the guidelines that stay.")],
    merged: Annotated[
        Path | None,
        typer.Option(
            "--merged",
            metavar="FILE",
            help="JSON lines of the guidelines that went, and into which. OUT.merged.ndjson without it.",
        ),
    ] = None,
    pairs: Annotated[
        list[Path] | None,
        typer.Option("--pairs", metavar="FILE", help="Pairs to rewrite to the ids that stay; may be repeated."),
    ] = None,
    pairs_out: Annotated[
        Path | None,
        typer.Option("--pairs-out", metavar="FILE", help="All rewritten pairs. OUT.pairs.ndjson without it."),
    ] = None,
    ratio: Annotated[
        float, typer.Option("--ratio", metavar="X", help="Indel ratio of title and text from which two are the same.")
    ] = 0.75,
    likeness: Annotated[
        float, typer.Option("--likeness", metavar="X", help="Cosine of their vectors from which two say the same.")
    ] = 0.8,
    by_meaning: Annotated[
        bool, typer.Option("--by-meaning/--by-text-alone", help="Whether to merge what says the same in other words.")
    ] = True,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", "-b", metavar="DIR", help="Bundle whose encoder is used; without it, the starter's."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first bad record instead of leaving it out.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Merge near-duplicates, and guidelines that say the same; of those that are alike the first one stays.

    It takes over the examples of the others; a file beside it says what became of each.

    Never merged: a safety guideline with one of quality, one that declines with one that helps.

    Output is written whole or not at all. Ends with 1 when a bad record was left out.

    guidealign library merge raw.jsonl --out guidelines.jsonl

    guidealign library merge run-1.jsonl run-2.jsonl --pairs pairs.jsonl --out guidelines.jsonl
    """
    from guidealign_engine.offline.guidelines.guideline_lines import guideline_lines
    from guidealign_engine.offline.guidelines.meaning import MeaningEncoder
    from guidealign_engine.offline.guidelines.merge import merge_guidelines
    from guidealign_engine.offline.guidelines.merged_files import WrittenPairs, rewrite_pairs, write_merged
    from guidealign_engine.offline.guidelines.whole_files import written_whole

    if pairs_out is not None and not pairs:
        raise typer.BadParameter("--pairs-out says where to write; give --pairs to say what")
    targets = [merged or out.with_suffix(".merged.ndjson"), out]
    if pairs:
        targets.insert(0, pairs_out or out.with_suffix(".pairs.ndjson"))
    if len({target.resolve() for target in targets}) < len(targets):
        raise typer.BadParameter("--out, --merged and --pairs-out name the same file; give each its own")
    begin = perf_counter()
    with show.progress() as report, written_whole(targets) as opened:

        def on_skip(error: ArtifactError) -> None:
            report(f"left out: {error}")

        found = merge_guidelines(
            guideline_lines(files),
            ratio=ratio,
            likeness=likeness,
            encoder=MeaningEncoder.load(bundle) if by_meaning else None,
            strict=strict,
            on_skip=on_skip,
            report=report,
        )
        written = write_merged(found, opened[-1], opened[-2], report)
        rewritten = None
        if pairs:
            report("  rewriting pairs")
            rewritten = rewrite_pairs(pairs, found, opened[0], strict=strict, on_skip=on_skip)
    skipped = found.skipped + (rewritten or WrittenPairs()).skipped
    record = {
        "guidelines": len(found.raw),
        "stay": written.guidelines,
        "went": dict(zip(_WAYS, found.went(), strict=True)),
        "not_compared_by_meaning": found.strange,
        "examples": {"read": found.raw.examples, "stay": written.examples},
        "pairs": None if rewritten is None else rewritten.as_dict(),
        "left_out": skipped,
        "files": [str(target) for target in reversed(targets)],
        "seconds": round(perf_counter() - begin, 2),
    }
    if as_json:
        typer.echo(show.json_line(record), nl=False)
    else:
        show.stdout().print(show.table(_rows(record)))
    if skipped:
        raise typer.Exit(1)


def _rows(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    examples, pairs = record["examples"], record["pairs"]
    rows = [
        ("guidelines", f"{record['stay']:,} stay of {record['guidelines']:,}"),
        ("went", f"{counted(record['went'])}"),
        ("examples", f"{examples['stay']:,} stay of {examples['read']:,}"),
    ]
    if record["not_compared_by_meaning"]:
        strange = f"{record['not_compared_by_meaning']:,} in languages that the encoder does not know"
        rows.append(("by text alone", strange))
    if pairs is not None:
        rows.append(("pairs", f"{pairs['pairs']:,}: {pairs['changed']:,} changed, {pairs['unknown']:,} unknown ids"))
    if record["left_out"]:
        rows.append(("left out", f"{record['left_out']:,} bad records, named above"))
    return [*rows, ("written", ", ".join(record["files"])), ("seconds", f"{record['seconds']:g}")]

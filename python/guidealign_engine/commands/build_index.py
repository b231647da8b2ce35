"""`guidealign build index`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from guidealign_engine.bundle import IndexChoice, IndexInfo
from guidealign_engine.commands import show
from guidealign_engine.commands.library_tables import grid
from guidealign_engine.commands.options import AsJson
from guidealign_engine.index_queries import read_queries
from guidealign_engine.index_tuning import RECALL_TARGET
from guidealign_engine.reindexed_bundle import publish_reindexed


def index(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle whose vectors are indexed anew.")],
    queries: Annotated[
        list[Path],
        typer.Option(
            "--queries",
            metavar="PATH",
            help="What is asked: pairs, of which only the dev split is read, or JSON lines with a text; "
            "files or folders; may be repeated.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The new bundle; one that is there is replaced in one step.")
    ],
    kind: Annotated[
        str | None,
        typer.Option("--kind", metavar="flat|pq|ivf_pq|ivf_pq4|hnsw", help="Kind of index; else chosen by size."),
    ] = None,
    recall: Annotated[
        float,
        typer.Option(
            "--recall",
            min=0.0,
            max=1.0,
            help="Share of the six best guidelines of an exact search that must be found, after the exact rerank.",
        ),
    ] = RECALL_TARGET,
    as_json: AsJson = False,
) -> None:
    """Give a bundle the cheapest index that finds what an exact search finds; all its other parts stay as they are.

    Sizes of codes and nprobe (for hnsw, efSearch) are tried on the queries. Of those that reach the recall, the fastest
    is taken; all of them stand in the manifest.

    guidealign build index policy-bundle --queries pairs/ --out tuned-bundle

    guidealign build index policy-bundle --queries questions.jsonl --kind hnsw --recall 0.99 --out tuned-bundle
    """
    asked = read_queries(queries)
    with show.progress() as report:
        manifest = publish_reindexed(bundle, out, asked, kind=kind, target=recall, report=report)
    if as_json:
        typer.echo(show.json_line({"bundle": str(out), "index": asdict(manifest.index)}), nl=False)
        return
    console = show.stdout()
    console.print(choices_table(manifest.index.choices, manifest.index))
    console.print(f"{out}: {manifest.index.kind}, recall {manifest.index.recall:.4f} on {len(asked):,} queries")


def choices_table(choices: Sequence[IndexChoice], taken: IndexInfo) -> object:
    """All that was tried; the one that was taken is marked."""
    headers = ("", "kind", "bytes a vector", "nprobe", "recall@6", "µs a query", "index bytes")
    return grid(
        headers,
        [
            (
                "→" if _is_taken(choice, taken) else "",
                choice.kind,
                f"{choice.code_bytes:,}",
                "-" if choice.nprobe is None else f"{choice.nprobe:,}",
                f"{choice.recall:.4f}",
                f"{choice.microseconds:,.0f}",
                f"{choice.index_bytes:,}",
            )
            for choice in choices
        ],
        left=2,
    )


def _is_taken(choice: IndexChoice, taken: IndexInfo) -> bool:
    return (choice.kind, choice.nprobe, choice.code_bytes) == (taken.kind, taken.nprobe, taken.code_bytes)

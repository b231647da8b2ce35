"""What `guidealign library expand` prints."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from guidealign_engine.commands import show
from guidealign_engine.commands.library_tables import grid, heading
from guidealign_engine.commands.model_cost import spent

if TYPE_CHECKING:
    from guidealign_engine.offline.guidelines.clusters import Evenness
    from guidealign_engine.offline.guidelines.expand import Expansion
    from guidealign_engine.offline.guidelines.expand_run import Outcome

_NO_TYPE = "(no risk type)"


def print_outcome(outcome: Outcome, unread: int, out: Path, *, as_json: bool) -> None:
    """New inputs by risk type, evenness over the clusters before and after, and what calls brought."""
    found = outcome.found
    if as_json:
        record = {**_record(found), "unread": unread, "left_out": outcome.left_out, **outcome.cost}
        typer.echo(show.json_line(record), nl=False)
    else:
        _print_for_people(found, outcome.cost, out)
    if outcome.left_out:
        typer.echo(f"an endpoint does not take {', '.join(outcome.left_out)}, and was asked without", err=True)
    if outcome.lacking or unread:
        skipped = len(found.tally.skipped)
        listed = f"; {skipped} calls brought nothing, see {out / 'skipped.jsonl'}" if skipped else ""
        typer.echo(
            f"{outcome.lacking} of {found.wanted} inputs are lacking and {unread} records were unreadable{listed}",
            err=True,
        )


def _record(found: Expansion) -> dict[str, Any]:
    tally = found.tally
    return {
        "new": len(found.new),
        "wanted": found.wanted,
        "by_type": {
            name: {"seeds": seeds, "new": found.new_by_type[name]} for name, seeds in found.seeds_by_type.items()
        },
        "before": asdict(found.before),
        "after": asdict(found.after),
        "rounds": tally.rounds,
        "asked": tally.calls,
        "skipped": len(tally.skipped),
        "alike": tally.alike,
        "surplus": tally.surplus,
        "judged": tally.judged,
        "unsure": tally.unsure,
    }


def _print_for_people(found: Expansion, cost: dict[str, float], out: Path) -> None:
    console, tally = show.stdout(), found.tally
    rows = [
        ("new inputs", f"{len(found.new):,} of {found.wanted:,}, in {out / 'inputs.jsonl'}"),
        ("dropped", f"{tally.alike:,} too much like one that is there, {tally.surplus:,} more than was wanted"),
        ("asked", f"{tally.calls:,} times in {tally.rounds} rounds; {len(tally.skipped):,} calls brought nothing"),
        ("cost", spent(cost)),
    ]
    if tally.judged:
        rows.insert(3, ("detector", f"unsure about {tally.unsure:,} of {tally.judged:,} inputs"))
    console.print(show.table(rows))
    heading(console, "by risk type")
    types = [
        (name or _NO_TYPE, f"{seeds:,}", f"{found.new_by_type[name]:,}", f"{seeds + found.new_by_type[name]:,}")
        for name, seeds in found.seeds_by_type.items()
    ]
    console.print(grid(["risk type", "seeds", "new", "together"], types))
    heading(console, f"evenness over the {found.before.clusters} clusters of the seeds")
    console.print(
        grid(
            ["", "inputs", "entropy, 1 is even", "largest cluster", "smallest"],
            [("before", *_figures(found.before)), ("after", *_figures(found.after))],
        )
    )


def _figures(evenness: Evenness) -> tuple[str, str, str, str]:
    return (
        f"{evenness.inputs:,}",
        f"{evenness.entropy:.3f}",
        f"{100 * evenness.largest_share:.1f} %",
        f"{evenness.smallest:,}",
    )

"""Tables of a quality report, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from guidealign_engine.commands import show
from guidealign_engine.commands.library_tables import grid, heading, percent

_RATES = ("at_thresholds", "cuts_off", "declined")
_MEASURES = ("recall@6", "nDCG@6", "MRR@10", "hit@1")


def print_evaluation(console: Console, record: Mapping[str, Any]) -> None:
    bundle = record["bundle"]
    console.print(
        Text(
            f"bundle {bundle['name']}: {bundle['guidelines']:,} guidelines, encoder {bundle['encoder']}, "
            f"index {bundle['index']}"
        )
    )
    for key, title in (("own", "own splits"), ("judged", "judged sets")):
        if record[key]["rows"]:
            heading(console, f"{title}: per cent, ± half of the 95 % interval")
            console.print(_quality(record[key]["rows"]))
    if len(record["judged"]["mean_nDCG@6"]) > 0:
        heading(console, "judged sets, mean nDCG@6")
        console.print(grid(("system", "nDCG@6", "of all-MiniLM-L6-v2"), _means(record["judged"]["mean_nDCG@6"])))
    if record["shown_at_thresholds"]:
        heading(console, "shown at the bundle's thresholds, of inputs that a guideline fits, and of others")
        console.print(grid(("split", "", "share"), _shown(record["shown_at_thresholds"]), left=2))
    if record["safety"] is not None:
        _print_safety(console, record["safety"])
    if record["query_cut"] is not None:
        heading(console, f"recall@6 with text around {record['query_cut']['inputs']:,} test inputs, engine")
        rows = [(row["around"], _estimate(row["recall@6"]), _drop(row["drop"])) for row in record["query_cut"]["rows"]]
        console.print(grid(("around", "recall@6", "drop"), rows))
    heading(console, "text to vector, one thread, µs")
    console.print(grid(("encoder", "tokens", "p50", "p95"), _latency(record["latency"])))
    _print_not_run(console, record)


def _quality(rows: Sequence[Mapping[str, Any]]) -> Any:
    shown: list[list[str]] = []
    last = None
    for row in rows:
        if row["set"] != last:
            shown.append([f"{row['set']}: {row['queries']:,} on {row['documents']:,}", *[""] * len(_MEASURES)])
        last = row["set"]
        shown.append([f"  {row['system']}", *(_estimate(row[measure]) for measure in _MEASURES)])
    return grid(("set: queries on texts", *_MEASURES), shown)


def _estimate(figure: Mapping[str, float]) -> str:
    return f"{100 * figure['mean']:.1f} ± {50 * (figure['high'] - figure['low']):.1f}"


def _drop(figure: Mapping[str, float] | None) -> str:
    return "" if figure is None else _estimate(figure)


def _means(means: Mapping[str, float]) -> list[tuple[str, str, str]]:
    base = means.get("all-MiniLM-L6-v2")
    return [(name, f"{100 * mean:.1f}", f"{mean / base:.3f}" if base else "-") for name, mean in means.items()]


def _shown(splits: Mapping[str, Mapping[str, float]]) -> list[tuple[str, str, str]]:
    return [
        (split, name.replace("_", " "), percent(share))
        for split, shares in splits.items()
        for name, share in shares.items()
    ]


def _print_safety(console: Console, safety: Mapping[str, Any]) -> None:
    sets = safety["sets"]
    heading(console, "a safety guideline among the first three")
    headers = ("set", "role", "prompts", "at thresholds", "cuts off", f"shown tag {safety['decline_tag']}")
    rows = [[one["set"], one["role"], f"{one['prompts']:,}", *(_share(one[name]) for name in _RATES)] for one in sets]
    console.print(grid(headers, rows, left=2))
    if safety["risk"] is not None:
        heading(console, "a risk above the one that so many benign prompts of all sets exceed")
        rates = [f"{rate:.0%}" for rate in safety["false_alarm_rates"]]
        rows = [[one["set"], *map(_share, one["at_false_alarms"]), _auc(one["auc"])] for one in sets]
        found = [_share(point["found"]) for point in safety["risk"]["at_false_alarms"]]
        console.print(grid(("set", *rates, "AUC"), [*rows, ["all harmful", *found, _auc(safety["risk"]["auc"])]]))
    heading(console, "by length of the query")
    lengths = [
        [
            row["tokens"],
            f"{row['harmful']:,}",
            _share(row["harmful_at_thresholds"]),
            f"{row['benign']:,}",
            _share(row["benign_at_thresholds"]),
            _auc(row["auc"]),
        ]
        for row in safety["by_length"]
    ]
    console.print(grid(("tokens", "harmful", "shown", "benign", "shown", "AUC"), lengths))


def _share(share: float | None) -> str:
    return "-" if share is None else percent(share)


def _auc(auc: float | None) -> str:
    return "-" if auc is None else f"{auc:.3f}"


def _latency(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    return [(row["encoder"], str(row["tokens"]), f"{row['p50_us']:,.0f}", f"{row['p95_us']:,.0f}") for row in rows]


def _print_not_run(console: Console, record: Mapping[str, Any]) -> None:
    rows = list(record["not_run"].items())
    for key in ("own", "judged"):
        rows += [(f"{one['system']} on {one['set']}", one["reason"]) for one in record[key]["not_run"]]
    for key in ("safety", "query_cut"):
        rows += [] if record[key] is None else list(record[key]["not_run"].items())
    if rows:
        heading(console, "not run")
        console.print(show.table(rows))

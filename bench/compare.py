"""Two result files of one machine, side by side; ends with exit code 1 when something became slower.

  python -m bench.compare before.json after.json
  python -m bench.compare before.json after.json --margin 0.1 --json

Reads what bench.report, bench.peers and bench.scale write. A figure has become worse when its p50 in NEW is more than
the margin above that in OLD, or below it where more is better: prompts a second, ratios, shares. Figures that are noisy
in one of the files are shown and not judged, and so are those that one file lacks. Exit code 2: nothing to compare.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

_MACHINE = ("processor", "cores", "vector_kernel")
# 100 to 115 is a change by 15 %, not by more.
_ROUNDING = 1e-9
_MORE_IS_BETTER = frozenset({"x", "share"})
_LESS_IS_BETTER = frozenset({"us", "ms", "s", "bytes", "MB"})


class ResultError(ValueError):
    """A file that holds no result, or results that cannot be compared."""


class Verdict(Enum):
    SAME = "within the margin"
    BETTER = "better"
    WORSE = "worse"
    NOISY = "noisy, not judged"
    GONE = "only in OLD"
    NEW = "only in NEW"


@dataclass(frozen=True, slots=True)
class Change:
    """A figure in both files, or in one."""

    name: str
    unit: str
    verdict: Verdict
    old_p50: float | None = None
    new_p50: float | None = None
    ratio: float | None = None
    """New over old, of the p50."""
    p99_ratio: float | None = None

    def record(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict.name.lower()}


def main(arguments: Sequence[str]) -> None:
    options = _options(arguments)
    try:
        old, new = read_result(options.old), read_result(options.new)
        other = different_machine(old, new)
        if other and not options.any_machine:
            raise ResultError(f"not the same machine: {'; '.join(other)}; --any-machine compares them nevertheless")
        changes = compare(old, new, margin=options.margin)
    except ResultError as error:
        print(f"bench.compare: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    worse = [change.name for change in changes if change.verdict is Verdict.WORSE]
    if options.json:
        result = {"margin": options.margin, "different_machine": other, "worse": worse}
        print(json.dumps({**result, "figures": [change.record() for change in changes]}, ensure_ascii=False))
    else:
        print(_table(changes))
        print(f"\n{len(worse)} worse by more than {options.margin:.0%}{': ' if worse else ''}{', '.join(worse)}")
    raise SystemExit(1 if worse else 0)


def read_result(file: Path) -> dict[str, Any]:
    """A result file. Raises ResultError saying what about it is none."""
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultError(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise ResultError(f"{file}: this is no JSON: {error}; give a file that a benchmark wrote by --out") from error
    figures = result.get("figures") if isinstance(result, dict) else None
    if not isinstance(figures, list) or not figures:
        raise ResultError(
            f'{file}: this is no result file; it must be an object with a list "figures" that is not empty'
        )
    for place, figure in enumerate(figures):
        _check_figure(figure, f"{file}: figures[{place}]")
    names = [figure["name"] for figure in figures]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ResultError(f"{file}: figures of the same name: {', '.join(twice[:3])}")
    return result


def _check_figure(figure: Any, place: str) -> None:
    if not isinstance(figure, dict):
        raise ResultError(f"{place} is {figure!r}; it must be an object")
    for field, kind, wanted in (("name", str, "a string"), ("unit", str, "a string"), ("noisy", bool, "true or false")):
        if not isinstance(figure.get(field), kind):
            raise ResultError(f"{place}.{field} is {figure.get(field)!r}; it must be {wanted}")
    for field, may_lack in (("p50", False), ("p99", True)):
        value = figure.get(field)
        if not (value is None and may_lack) and (type(value) not in (int, float) or not 0 <= value < float("inf")):
            raise ResultError(f"{place}.{field} is {value!r}; it must be a number from 0 on")
    if "better" in figure and figure["better"] not in ("more", "less"):
        raise ResultError(f'{place}.better is {figure["better"]!r}; allowed: "more", "less"')
    _more_is_better(figure, place)


def _more_is_better(figure: Mapping[str, Any], place: str) -> bool:
    """By the figure's own word, otherwise by its unit. Raises ResultError for a unit that says neither."""
    if "better" in figure:
        return bool(figure["better"] == "more")
    unit = figure["unit"]
    if unit not in _LESS_IS_BETTER and unit not in _MORE_IS_BETTER and not unit.endswith("/s"):
        allowed = ", ".join([*sorted(_LESS_IS_BETTER), *sorted(_MORE_IS_BETTER), "anything/s"])
        raise ResultError(f'{place}.unit is {unit!r}; allowed: {allowed}, or any with "better": "more" or "less"')
    return unit not in _LESS_IS_BETTER


def different_machine(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What of the machines differs, such as `cores 2 and 4`; nothing for the same."""
    machines = [result.get("machine") or {} for result in (old, new)]
    if not all(isinstance(machine, dict) and machine for machine in machines):
        return ["a file does not name its machine"]
    before, after = machines
    return [
        f"{name} {before.get(name)} and {after.get(name)}" for name in _MACHINE if before.get(name) != after.get(name)
    ]


def compare(old: Mapping[str, Any], new: Mapping[str, Any], *, margin: float) -> list[Change]:
    """Every figure of both, in the order of the old file. Raises ResultError when they share none."""
    before = {figure["name"]: figure for figure in old["figures"]}
    after = {figure["name"]: figure for figure in new["figures"]}
    if not before.keys() & after.keys():
        names = " and ".join(", ".join(list(each)[:3]) + ", …" for each in (before, after))
        raise ResultError(f"the files share no figure; they have {names}: give two of the same benchmark")
    return [
        *(
            _change(figure, after[name], margin)
            if name in after
            else Change(name, figure["unit"], Verdict.GONE, old_p50=figure["p50"])
            for name, figure in before.items()
        ),
        *(
            Change(name, figure["unit"], Verdict.NEW, new_p50=figure["p50"])
            for name, figure in after.items()
            if name not in before
        ),
    ]


def _change(old: Mapping[str, Any], new: Mapping[str, Any], margin: float) -> Change:
    name = old["name"]
    if old["unit"] != new["unit"]:
        raise ResultError(f"{name} is in {old['unit']} in one file and in {new['unit']} in the other")
    return Change(
        name,
        old["unit"],
        _verdict(old, new, margin),
        old["p50"],
        new["p50"],
        _ratio(old["p50"], new["p50"]),
        _ratio(old.get("p99"), new.get("p99")),
    )


def _verdict(old: Mapping[str, Any], new: Mapping[str, Any], margin: float) -> Verdict:
    if old["noisy"] or new["noisy"]:
        return Verdict.NOISY
    higher, lower = (
        (Verdict.BETTER, Verdict.WORSE) if _more_is_better(old, old["name"]) else (Verdict.WORSE, Verdict.BETTER)
    )
    if new["p50"] > old["p50"] * (1 + margin + _ROUNDING):
        return higher
    return lower if new["p50"] < old["p50"] * (1 - margin - _ROUNDING) else Verdict.SAME


def _ratio(old: float | None, new: float | None) -> float | None:
    return None if not old or new is None else round(new / old, 4)


def _table(changes: Sequence[Change]) -> str:
    header = ("figure", "unit", "old p50", "new p50", "new / old", "p99 new / old", "")
    rows = [
        (
            change.name,
            change.unit,
            *("–" if value is None else f"{value:,.4g}" for value in (change.old_p50, change.new_p50)),
            *("–" if value is None else f"{value:.2f}" for value in (change.ratio, change.p99_ratio)),
            change.verdict.value,
        )
        for change in changes
    ]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    )


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path, metavar="OLD", help="result file from before")
    parser.add_argument("new", type=Path, metavar="NEW", help="result file from after")
    parser.add_argument("--margin", type=float, default=0.15, help="share by which a figure may differ (default 0.15)")
    parser.add_argument("--any-machine", action="store_true", help="compare also results of different machines")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args(arguments)
    if not 0 <= options.margin < 1:
        parser.error(f"--margin is {options.margin}; it must be at least 0 and below 1")
    return options


if __name__ == "__main__":
    main(sys.argv[1:])

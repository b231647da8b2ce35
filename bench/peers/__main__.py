"""Peers side by side in one run: text in, a prompt with six guidelines out, one thread, every answer checked.

  python -m bench.peers --out peers.json --plot peers.png
  python -m bench.peers --only engine,recipe,usearch+student --rounds 3 --out peers.json

All are given the same library, prompts and held-out inputs. A row is a peer with all-MiniLM-L6-v2 or, as NAME+student,
with the bundle's own vectors and encoder. Peers that want other versions than the extra "bench-peers" are installed
into environments of their own in the cache, once. A row that fails or cannot be run is listed with the reason.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.machine import bundle_record, commit_record, machine_record
from bench.peers.material import Material
from bench.peers.registry import PEERS, Row, chosen_rows
from bench.peers.report import as_json, plot, records, table
from bench.peers.run import MEASURED, run_rows


def main(arguments: Sequence[str]) -> None:
    options, rows = _options(arguments)
    machine = machine_record()
    material = Material.open(options.cache, calls=options.calls, batch_calls=options.batch_calls)
    outcomes = run_rows(rows, material, cache=options.cache, rounds=options.rounds, budget_s=options.budget_s)
    result: dict[str, Any] = {
        "measured_on": datetime.now(UTC).date().isoformat(),
        "command": shlex.join(["python", "-m", "bench.peers", *arguments]),
        **commit_record(),
        "machine": machine,
        "bundle": bundle_record(material.engine.manifest),
        "prompts": {"source": material.source, "single": len(material.prompts), "quality": len(material.inputs)},
        "rounds": options.rounds,
        **records(outcomes),
    }
    text = as_json(result)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text, encoding="utf-8")
    if options.plot is not None:
        plot(result, options.plot)
    print(text if options.json else table(result))
    if not any(outcome.status == MEASURED for outcome in outcomes):
        raise SystemExit(1)


def _options(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[Row]]:
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="rows or peers, separated by commas; by default all")
    parser.add_argument("--rounds", type=int, default=3, help="fresh processes of each row (default 3)")
    parser.add_argument("--out", type=Path, required=True, help="result file, for bench.compare")
    parser.add_argument("--plot", type=Path, help="picture of the time of one prompt, by row")
    parser.add_argument("--json", action="store_true", help="print the result file instead of a table")
    parser.add_argument("--calls", type=int, default=400, help="single prompts a round (default 400)")
    parser.add_argument("--batch-calls", type=int, default=30, help="batches of 64 a round (default 30)")
    parser.add_argument(
        "--budget-s", type=float, default=8.0, help="no call begins after this time, twice a round (default 8)"
    )
    parser.add_argument("--cache", type=Path, default=_default_cache(), help="for vectors, indexes and environments")
    options = parser.parse_args(arguments)
    for name in ("rounds", "calls", "batch_calls", "budget_s"):
        if not getattr(options, name) > 0:
            parser.error(f"--{name.replace('_', '-')} is {getattr(options, name)}; it must be above 0")
    options.cache = options.cache.absolute()
    try:
        return options, chosen_rows(PEERS, options.only.split(",") if options.only else None)
    except ValueError as error:
        parser.error(str(error))


def _default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "guidealign-bench"


if __name__ == "__main__":
    main(sys.argv[1:])

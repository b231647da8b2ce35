"""Measures all cases of a GPU and writes them as JSON and as a table; on the CPU, goes through them and writes none."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from bench.gpu.bert_graph import Shape
from bench.gpu.cases import (
    Bench,
    Measured,
    copy_cases,
    encoder_cases,
    index_on,
    request_cases,
    rerank_cases,
    search_cases,
    stage_cases,
    stages_on,
    student_of,
)
from bench.gpu.floors import measured_rates
from bench.gpu.workload import make_workload, resources_for
from bench.machine import commit_record
from bench.prompts import load_prompts
from guidealign_engine import load_engine
from guidealign_engine.bundle import open_bundle
from guidealign_engine.config import RerankConfig
from guidealign_engine.devices import choose_device
from guidealign_engine.doctor import diagnose
from guidealign_engine.gpu.index import stream_of
from guidealign_engine.gpu.rerank import GpuRerank
from guidealign_engine.gpu.sessions import Place
from guidealign_engine.index import import_faiss
from guidealign_engine.loading import STARTER_BUNDLE
from guidealign_engine.surroundings import Surroundings
from guidealign_engine.tokenizer import QueryTokenizer

NOT_MEASURED = "not yet measured"
_LARGE_NEEDS_S = 150
_MILLION = 1_000_000
_FEW, _MORE = 2_000, 3_000
_STANDS_FOR = {4: 64, _FEW: _MILLION, _MORE: 10 * _MILLION}
_CLIENTS = 4


def main(arguments: list[str]) -> None:
    options = _options(arguments)
    deadline = monotonic() + options.seconds
    device = choose_device(options.device)
    gpu = device.gpus[0] if device.gpus else None
    resources = resources_for(Place("cuda", gpu)) if gpu is not None else []
    bench = _bench(gpu, resources, dry=options.dry_run)
    figures: list[Measured] = []
    failures: dict[str, str] = {}
    for name, cases in _groups(bench, resources, options, deadline):
        print(f"{name}: {deadline - monotonic():.0f} s left", file=sys.stderr)
        try:
            figures += cases()
        except Exception as error:  # one group that fails must not cost the figures of the others
            failures[name] = f"{type(error).__name__}: {' '.join(str(error).split())}"
            print(f"{name} failed: {failures[name]}", file=sys.stderr)
    measured = gpu is not None and not options.dry_run
    result = {
        "measured_on": datetime.now(UTC).date().isoformat() if measured else None,
        **commit_record(),
        "machine": diagnose(Surroundings.look(), str(device)).record,
        "rates": asdict(bench.rates) if bench.rates else None,
        "figures": [record(figure, measured=measured) for figure in figures],
        "failures": failures,
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    options.table.write_text(table(result["figures"], result["rates"]), encoding="utf-8")
    print(options.table.read_text(encoding="utf-8"))
    if failures:
        sys.exit(f"error: {len(failures)} of the groups failed: {', '.join(failures)}")


def record(figure: Measured, *, measured: bool) -> dict[str, Any]:
    """A figure for a file. What ran without a GPU has no value: times of a CPU say nothing about one."""
    if not measured:
        empty = replace(figure, p50=0.0, p99=None, device_us=None, floor_us=None, detail="")
        return {**asdict(empty), "p50": None, "status": NOT_MEASURED, "met": None, "times_floor": None}
    met = None
    if figure.target is not None:
        met = figure.p50 >= figure.target if figure.unit == "/s" else figure.p50 <= figure.target
    times = None if not figure.floor_us else round((figure.device_us or figure.p50) / figure.floor_us, 2)
    return {**asdict(figure), "status": "measured", "met": met, "times_floor": times}


def table(figures: Sequence[dict[str, Any]], rates: dict[str, float] | None) -> str:
    """Markdown."""
    head = ["figure", "target", "p50", "p99", "on the device", "floor", "times floor", "met"]
    lines = [head, ["---"] * len(head)]
    for figure in figures:
        unit = "/s" if figure["unit"] == "/s" else "µs"
        sign = "≥" if unit == "/s" else "≤"
        target = "" if figure["target"] is None else f"{sign} {figure['target']:,.0f} {unit}"
        if figure["status"] == NOT_MEASURED:
            lines.append([figure["name"], target, NOT_MEASURED, "", "", "", "", ""])
            continue
        values = [_cell(figure[name], unit) for name in ("p50", "p99", "device_us", "floor_us")]
        times = "" if figure["times_floor"] is None else f"{figure['times_floor']:.1f}"
        met = {True: "yes", False: "**no**", None: ""}[figure["met"]]
        name = f"{figure['name']} ({figure['detail']})" if figure["detail"] else figure["name"]
        lines.append([name, target, *values, times, met])
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
    if rates is None:
        return text
    return (
        f"Rates seen on the card: {rates['bytes_per_s'] / 1e12:.2f} TB/s of memory, "
        f"{rates['half_flop_per_s'] / 1e12:.0f} TFLOP/s in float16, "
        f"{rates['host_bytes_per_s'] / 1e9:.1f} GB/s from the host.\n\n{text}"
    )


def _cell(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:,.0f} {unit}"


def _bench(gpu: int | None, resources: list[Any], *, dry: bool) -> Bench:
    if gpu is None or dry:
        small = Shape(layers=1, width=48, heads=4, inner=96, vocabulary=200)
        return Bench(Place("cpu"), None, calls=5, student=small, batches=(1, 4), labels=_STANDS_FOR)
    place = Place("cuda", gpu, stream_of(import_faiss(), resources[0], gpu))
    return Bench(place, measured_rates(gpu), calls=500, student=Shape(), batches=(1, 64))


def _groups(
    bench: Bench, resources: list[Any], options: argparse.Namespace, deadline: float
) -> Iterator[tuple[str, Callable[[], list[Measured]]]]:
    """Each with a name, and only what time is left for; the smaller ones first."""
    full = bench.place.kind == "cuda"
    small = {} if full else {"lists": 8, "code_bytes": 4}
    encoder = student_of(bench)
    one, batch = bench.batches
    yield "encoder", lambda: [*encoder_cases(bench, encoder), *copy_cases(bench, batch)]

    def requests() -> list[Measured]:
        bundle = options.bundle or STARTER_BUNDLE
        prompts = load_prompts(QueryTokenizer.from_bundle(open_bundle(bundle)).count).short
        engine = load_engine(options.bundle, device=options.device if full else "cpu")
        return list(request_cases(bench, engine, prompts[: 640 if full else 128], _CLIENTS))

    yield "requests", requests

    def million() -> list[Measured]:
        vectors = _MILLION if full else _FEW
        work = make_workload(vectors, bench.place, queries=256, resources=resources, **small)
        index, exact = index_on(work), GpuRerank(work.library, RerankConfig(), bench.place)
        stages = stages_on(bench, work, encoder, index, exact)
        targets = {(one, "p50"): 700.0, (one, "p99"): 1000.0, (batch, "p99"): 1500.0}
        return [
            *search_cases(bench, work, index, bench.batches, {}),
            *rerank_cases(bench, work, exact, index, batch),
            *stage_cases(bench, stages, vectors, targets),
        ]

    yield "1M guidelines", million

    def ten_millions() -> list[Measured]:
        vectors = 10 * _MILLION if full else _MORE
        work = make_workload(vectors, bench.place, queries=256, resources=resources, **small)
        return list(search_cases(bench, work, index_on(work), (batch,), {batch: 300.0}))

    if not full or deadline - monotonic() > _LARGE_NEEDS_S:
        yield "10M guidelines", ten_millions
    else:
        print(f"10M guidelines: left out, less than {_LARGE_NEEDS_S} s left", file=sys.stderr)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu.report", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--bundle", type=Path, help="bundle of the requests; the starter bundle without it")
    parser.add_argument("--out", type=Path, required=True, help="JSON")
    parser.add_argument("--table", type=Path, required=True, help="markdown")
    parser.add_argument("--seconds", type=float, default=420.0, help="that all may take; the largest is left out then")
    parser.add_argument("--dry-run", action="store_true", help="go through all cases on the CPU, in small")
    options = parser.parse_args(arguments)
    if options.dry_run:
        options.device = "cpu"
    return options


if __name__ == "__main__":
    main(sys.argv[1:])

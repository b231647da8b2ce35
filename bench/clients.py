"""Closed-loop clients of one engine: threads that each ask, wait for the answer, and ask again.

    python -m bench.clients --clients 1,4,16,64 --out clients.json
    python -m bench.clients --clients 64 --no-queue --seconds 1 --rounds 1

Each number of clients asks for one prompt at a time, and for small batches. Batches of 64 by one and by two threads on
the engine itself, in the same rounds, are what the rates are held against. One answer in 16 is compared with what the
engine gives that prompt alone; a wrong one ends the run without a result.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier, Event, Thread
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.figures import FigureInfo, Unit
from bench.machine import bundle_record, commit_record, machine_record
from bench.measure import Figure, Summary, garbage_collection_off, summary
from bench.report import figure_record
from bench.scenarios import Workbench
from guidealign_engine import BatchingEngine

FULL_BATCH = 64
SMALL_BATCH = 8
_ANSWERS_PER_CHECK = 16
_DIFFERENT_INPUTS = 512

Call = Callable[[list[str]], Any]
Round = dict[str, Summary]


@dataclass(frozen=True, slots=True)
class Load:
    """What clients did together."""

    rate: float
    """Prompts a second."""
    durations_us: NDArray[np.float64]
    """Of every request."""
    kept: list[tuple[list[str], Any]]
    """One request in 16, with its answer."""


def main(arguments: Sequence[str]) -> None:
    options = _options(arguments)
    machine = machine_record()
    workbench = Workbench.open()
    workbench.check_against_oracle()
    rounds = []
    for number in range(options.rounds):
        print(f"clients: round {number + 1} of {options.rounds}", file=sys.stderr)
        rounds.append(measured(workbench, options))
    # There is no rate within the limit where a round had none.
    infos = [info for info in figure_infos(options) if all(info.name in each for each in rounds)]
    result = {
        "measured_on": datetime.now(UTC).date().isoformat(),
        "command": shlex.join(["python", "-m", "bench.clients", *arguments]),
        **commit_record(),
        "machine": machine,
        "bundle": bundle_record(workbench.one_thread.manifest),
        "prompts": {"source": workbench.prompts.source, "short": len(workbench.prompts.short)},
        "queue": {"max_batch": options.max_batch, "max_wait_us": options.max_wait_us} if options.queue else None,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "figures": [figure_record(info, Figure([each[info.name] for each in rounds])) for info in infos],
    }
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    if options.out is None:
        print(text, end="")
    else:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")
    for info in infos:
        figure = Figure([each[info.name] for each in rounds])
        print(_line(info, figure), file=sys.stderr)


def measured(workbench: Workbench, options: argparse.Namespace) -> Round:
    """One round: full batches on the engine itself, then every number of clients."""
    engine = workbench.one_thread
    found: Round = {}
    for threads in (1, 2):
        load = checked_load(workbench, engine.assemble_batch, clients=threads, size=FULL_BATCH, seconds=options.seconds)
        found[f"batches_64_by_{threads}"] = _single(load.rate)
    loads: dict[tuple[int, int], Load] = {}
    for size in (1, SMALL_BATCH):
        for clients in options.clients:
            with ExitStack() as stack:
                asked: Any = engine
                if options.queue:
                    queue = BatchingEngine(engine, max_batch=options.max_batch, max_wait_us=options.max_wait_us)
                    asked = stack.enter_context(queue)
                load = checked_load(
                    workbench, asked.assemble_batch, clients=clients, size=size, seconds=options.seconds
                )
            loads[clients, size] = load
            found[f"clients_{clients}_by_{size}"] = _single(load.rate)
            found[f"clients_{clients}_by_{size}_request"] = summary(load.durations_us)
            found[f"clients_{clients}_by_{size}_over_batches"] = _single(load.rate / found["batches_64_by_1"].p50)
    within = [load.rate for load in loads.values() if np.percentile(load.durations_us, 99) <= 1000 * options.limit_ms]
    if within:
        found["rate_within_limit"] = _single(max(within))
    return found


def checked_load(workbench: Workbench, call: Call, *, clients: int, size: int, seconds: float) -> Load:
    """Closed-loop clients for some seconds. Raises AssertionError for a wrong answer."""
    scenario = workbench.batch(size=size, threads=1, calls=_DIFFERENT_INPUTS)
    load = closed_loop_for(call, scenario.inputs, clients=clients, seconds=seconds)
    for given, answer in load.kept:
        scenario.check(given, answer)
    return load


def closed_loop_for(call: Call, inputs: Sequence[list[str]], *, clients: int, seconds: float) -> Load:
    """Each client asks with one input after the other, waits for every answer, and begins at another place."""
    over, begin = Event(), Barrier(clients + 1)
    durations_ns: list[list[int]] = [[] for _ in range(clients)]
    kept: list[list[tuple[list[str], Any]]] = [[] for _ in range(clients)]
    errors: list[BaseException] = []

    def client(number: int) -> None:
        durations, answers = durations_ns[number], kept[number]
        place = number * len(inputs) // clients
        begin.wait()
        try:
            while not over.is_set():
                given = inputs[place % len(inputs)]
                asked_ns = perf_counter_ns()
                answer = call(given)
                durations.append(perf_counter_ns() - asked_ns)
                if len(durations) % _ANSWERS_PER_CHECK == 1:
                    answers.append((given, answer))
                place += 1
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=client, args=(number,)) for number in range(clients)]
    with garbage_collection_off():
        for thread in threads:
            thread.start()
        begin.wait()
        begun_ns = perf_counter_ns()
        time.sleep(seconds)
        over.set()
        for thread in threads:
            thread.join()
        took_s = (perf_counter_ns() - begun_ns) / 1e9
    if errors:
        raise errors[0]
    durations_us = np.concatenate([np.array(each) for each in durations_ns]) / 1000.0
    prompts = len(durations_us) * len(inputs[0])
    return Load(prompts / took_s, durations_us, [pair for each in kept for pair in each])


def figure_infos(options: argparse.Namespace) -> list[FigureInfo]:
    """What a run gives, in the order of its table."""
    infos = [
        FigureInfo("batches_64_by_1", "Clients", "batches of 64 by one thread, no queue", Unit.RATE),
        FigureInfo("batches_64_by_2", "Clients", "batches of 64 by two threads, no queue", Unit.RATE),
        FigureInfo(
            "rate_within_limit", "Clients", f"the most with a p99 of at most {options.limit_ms:g} ms", Unit.RATE
        ),
    ]
    for size in (1, SMALL_BATCH):
        for clients in options.clients:
            who = f"{clients} client{'s' * (clients > 1)}, {size} prompt{'s' * (size > 1)} a request"
            name = f"clients_{clients}_by_{size}"
            promised = options.queue and (clients, size) == (64, 1)
            infos += [
                FigureInfo(name, "Clients", who, Unit.RATE),
                FigureInfo(
                    f"{name}_over_batches",
                    "Clients",
                    f"{who} / batches of 64 by one thread",
                    Unit.TIMES,
                    p50=0.8 if promised else None,
                    at_least=True,
                ),
                FigureInfo(
                    f"{name}_request", "Clients", f"{who}: a request", Unit.US, p99=5000.0 if promised else None
                ),
            ]
    return infos


def _single(value: float) -> Summary:
    return Summary(value, value, None)


def _line(info: FigureInfo, figure: Figure) -> str:
    typical = figure.typical
    p99 = "" if typical.p99 is None else f", p99 {info.unit.show(typical.p99)}"
    met: Mapping[bool | None, str] = {True: f"  (met: {info.target})", False: f"  (NOT met: {info.target})", None: ""}
    noisy = ", noisy" if figure.noisy else ""
    return f"{info.what}: {info.unit.show(typical.p50)}{p99}, spread {figure.spread:.0%}{noisy}{met[info.met(typical)]}"


def _numbers(text: str) -> list[int]:
    numbers = [int(number) for number in text.split(",")]
    if any(number < 1 for number in numbers):
        raise argparse.ArgumentTypeError(f"{text} holds a number below 1")
    return numbers


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.clients", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=_numbers, default=[1, 4, 16, 64], help="numbers of threads, by commas")
    parser.add_argument("--seconds", type=float, default=3.0, help="that each number of clients asks for, a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--queue", action=argparse.BooleanOptionalAction, default=True, help="through BatchingEngine")
    parser.add_argument("--max-batch", type=int, default=64, help="of BatchingEngine")
    parser.add_argument("--max-wait-us", type=float, default=200.0, help="of BatchingEngine")
    parser.add_argument("--limit-ms", type=float, default=5.0, help="p99 within which the highest rate is looked for")
    parser.add_argument("--out", type=Path, help="result file; standard output without it")
    options = parser.parse_args(arguments)
    for name in ("seconds", "rounds", "limit_ms"):
        if getattr(options, name) <= 0:
            parser.error(f"--{name.replace('_', '-')} is {getattr(options, name)}; it must be above 0")
    return options


if __name__ == "__main__":
    main(sys.argv[1:])

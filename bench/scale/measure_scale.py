"""Measures one bundle, in a process of its own that has done nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns, sleep
from typing import Any

import numpy as np

from bench.measure import Figure, Scenario, Summary, rate_summary, summary, timed
from bench.prompts import batches
from bench.scale.floors import FLOORED, bytes_per_second, stage_bytes
from bench.scale.memory import Resident, resident
from guidealign_engine import Engine, GuidedPrompt, load_engine
from guidealign_engine.results import Batch

BATCHES = {1: 300, 8: 100, 64: 20, 256: 6}
_FLOOR_PROMPTS = 200

Guided = Batch[GuidedPrompt]
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one bundle. Times in microseconds, sizes in bytes."""

    load_us: float
    first_request_us: float
    after_load: Resident
    after_requests: Resident
    rounds: list[dict[str, Summary]]
    floors_us: dict[str, float]
    bytes_per_second: float
    positions: list[list[int]]
    """What was found for each prompt, best first."""

    @property
    def figures(self) -> dict[str, Figure]:
        return {name: Figure([each[name] for each in self.rounds]) for name in self.rounds[0]}


def measure(
    folder: Path, prompts: Sequence[str], *, rounds: int, pause_s: float, progress: Progress = lambda line: None
) -> Measured:
    """One prompt a call and batches of them, always six guidelines, one thread, text to messages.

    Raises AssertionError for an answer that differs from that of one batch of all prompts.
    """
    begin = perf_counter_ns()
    engine = load_engine(folder)
    loaded = perf_counter_ns()
    engine.assemble_batch(prompts[:1], min_score=-1.0)
    answered = perf_counter_ns()
    after_load = resident(engine, folder)
    positions = [found.positions for found in engine.retrieve_batch(prompts, min_score=-1.0)]
    expected = dict(zip(prompts, positions, strict=True))
    one, many = _one(engine, expected), [_many(engine, expected, size, calls) for size, calls in BATCHES.items()]
    measured = []
    for number in range(rounds):
        progress(f"  round {number + 1} of {rounds}")
        measured.append(_round(one, many))
        sleep(pause_s)
    bandwidth = bytes_per_second()
    read = stage_bytes(engine, prompts[:_FLOOR_PROMPTS])
    return Measured(
        load_us=(loaded - begin) / 1000,
        first_request_us=(answered - loaded) / 1000,
        after_load=after_load,
        after_requests=resident(engine, folder),
        rounds=measured,
        floors_us={stage: 1e6 * read[stage] / bandwidth for stage in FLOORED},
        bytes_per_second=bandwidth,
        positions=positions,
    )


def to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _round(one: Scenario[str, Guided], many: Sequence[Scenario[list[str], Guided]]) -> dict[str, Summary]:
    single = timed(one)
    return {
        "one": summary(single.durations_us),
        "rest": summary(single.rest_us),
        **{f"stage_{stage}": summary(durations) for stage, durations in single.stages.items()},
        **{each.name: rate_summary(timed(each).durations_us, len(each.inputs[0])) for each in many},
    }


def _one(engine: Engine, expected: Mapping[str, list[int]]) -> Scenario[str, Guided]:
    def check(prompt: str, answer: Guided) -> None:
        _check(engine, [prompt], answer, expected)

    return Scenario("one", list(expected), lambda prompt: engine.assemble_batch([prompt], min_score=-1.0), check)


def _many(engine: Engine, expected: Mapping[str, list[int]], size: int, calls: int) -> Scenario[list[str], Guided]:
    def check(prompts: list[str], answer: Guided) -> None:
        _check(engine, prompts, answer, expected)

    given = batches(list(expected), size=size, count=calls)
    return Scenario(f"batch_{size}", given, lambda part: engine.assemble_batch(part, min_score=-1.0), check)


def _check(engine: Engine, prompts: Sequence[str], answer: Guided, expected: Mapping[str, list[int]]) -> None:
    for prompt, guided in zip(prompts, answer, strict=True):
        found = guided.retrieval.positions
        assert found == expected[prompt], f"wrong guidelines for {prompt!r}"
        messages: Any = guided.prompt
        assert isinstance(messages, list)
        system = messages[0]["content"]
        assert messages[-1]["content"] == prompt
        assert all(engine.library.record(position).title in system for position in found), f"one is missing: {prompt!r}"


def mean_share(found: Sequence[Sequence[int]], wanted: Sequence[Sequence[int]]) -> float:
    """Mean share of `wanted` that is in `found`, a row a prompt; rows that want nothing are left out."""
    pairs = [(set(own), set(best)) for own, best in zip(found, wanted, strict=True) if best]
    return float(np.mean([len(own & best) / len(best) for own, best in pairs]))

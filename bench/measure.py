"""Times single calls, each answer checked, and sums up rounds of them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from threading import Thread
from time import perf_counter_ns
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

NOISY_ABOVE = 0.25
_WARM_UP_CALLS = 30
_ANSWERS_PER_CHECK = 16
_FEWEST_FOR_P99 = 100
_OUTSIDE_REST = ("tokenize", "encode")

Given = TypeVar("Given")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Scenario(Generic[Given, Answer]):
    """A call to time, once for each input."""

    name: str
    inputs: Sequence[Given]
    call: Callable[[Given], Answer]
    check: Callable[[Given, Answer], None]
    """Raises AssertionError for a wrong answer; runs between the calls, untimed."""


@dataclass(frozen=True, slots=True)
class Timed:
    """The calls of one round."""

    durations_us: NDArray[np.float64]
    laps_us: list[Mapping[str, float]]
    """What each answer says about its stages."""

    @property
    def stages(self) -> dict[str, NDArray[np.float64]]:
        """Microseconds by stage; over several threads, the sum. Empty for answers that say nothing."""
        return {stage: np.array([laps[stage] for laps in self.laps_us]) for stage in self.laps_us[0]}

    @property
    def rest_us(self) -> NDArray[np.float64]:
        """All of a call but tokenising and encoding. For calls on one thread."""
        stages = self.stages
        return self.durations_us - sum(stages[stage] for stage in _OUTSIDE_REST)


@dataclass(frozen=True, slots=True)
class Summary:
    """Of the calls of one round, or of several rounds."""

    min: float
    p50: float
    p99: float | None
    """None of fewer than 100 calls."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Rounds of the same measurement."""

    rounds: list[Summary]

    @property
    def typical(self) -> Summary:
        """The median of the rounds, for each of the three."""
        p99s = [each.p99 for each in self.rounds if each.p99 is not None]
        return Summary(
            median(each.min for each in self.rounds),
            median(each.p50 for each in self.rounds),
            median(p99s) if p99s else None,
        )

    @property
    def spread(self) -> float:
        """(largest - smallest) / median of the rounds' medians."""
        values = [each.p50 for each in self.rounds]
        return (max(values) - min(values)) / median(values)

    @property
    def noisy(self) -> bool:
        return self.spread > NOISY_ABOVE


class AnswerLog:
    """Checks answers a few at a time: one after every call would leave the next one colder caches."""

    def __init__(self, scenario: Scenario[Any, Any]) -> None:
        self.laps_us: list[Mapping[str, float]] = []
        self._scenario = scenario
        self._open: list[tuple[Any, Any]] = []

    def add(self, given: Any, answer: Any) -> None:
        self.laps_us.append(getattr(answer, "timings_us", {}))
        self._open.append((given, answer))
        if len(self._open) == _ANSWERS_PER_CHECK:
            self.check()

    def check(self) -> None:
        """Raises AssertionError for a wrong answer among those added since the last check."""
        while self._open:
            self._scenario.check(*self._open.pop())


def timed(scenario: Scenario[Any, Any]) -> Timed:
    """One round: every input once, alone, after a warm-up."""
    warm_up(scenario)
    durations_ns = np.empty(len(scenario.inputs), dtype=np.int64)
    log = AnswerLog(scenario)
    with garbage_collection_off():
        for place, given in enumerate(scenario.inputs):
            begin = perf_counter_ns()
            answer = scenario.call(given)
            durations_ns[place] = perf_counter_ns() - begin
            log.add(given, answer)
    log.check()
    return Timed(durations_ns / 1000.0, log.laps_us)


def closed_loop(scenario: Scenario[Given, Answer], *, clients: int) -> float:
    """Calls a second when `clients` threads each go through all inputs, one call after the other."""
    warm_up(scenario)
    answers: list[list[Answer]] = [[] for _ in range(clients)]

    def run(kept: list[Answer]) -> None:
        kept.extend(map(scenario.call, scenario.inputs))

    threads = [Thread(target=run, args=(kept,)) for kept in answers]
    with garbage_collection_off():
        begin = perf_counter_ns()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = (perf_counter_ns() - begin) / 1e9
    for kept in answers:
        for given, answer in zip(scenario.inputs, kept, strict=True):
            scenario.check(given, answer)
    return clients * len(scenario.inputs) / seconds


def warm_up(scenario: Scenario[Any, Any]) -> None:
    for given in scenario.inputs[:_WARM_UP_CALLS]:
        scenario.check(given, scenario.call(given))


def summary(values: NDArray[np.float64]) -> Summary:
    """Of durations."""
    p99 = float(np.percentile(values, 99)) if len(values) >= _FEWEST_FOR_P99 else None
    return Summary(float(values.min()), float(np.median(values)), p99)


def rate_summary(durations_us: NDArray[np.float64], prompts: int) -> Summary:
    """Prompts a second; p99 is the rate that 99 % of the calls reach."""
    rates = prompts * 1e6 / durations_us
    p99 = float(np.percentile(rates, 1)) if len(rates) >= _FEWEST_FOR_P99 else None
    return Summary(float(rates.min()), float(np.median(rates)), p99)


def ratio_of_medians(slower: Sequence[Timed], faster: Sequence[Timed]) -> float:
    """How many times as long: the median over rounds of the ratio of their medians."""
    pairs = zip(slower, faster, strict=True)
    return median(float(np.median(left.durations_us) / np.median(right.durations_us)) for left, right in pairs)


def interleaved(
    first: Scenario[Any, Any], second: Scenario[Any, Any], *, rounds: int
) -> tuple[list[Timed], list[Timed]]:
    """Both in turn, so that a change of the machine's speed reaches both."""
    pairs = [(timed(first), timed(second)) for _ in range(rounds)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


@contextmanager
def garbage_collection_off() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()

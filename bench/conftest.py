from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from bench.measure import AnswerLog, Scenario, Timed, garbage_collection_off, summary, warm_up
from bench.scenarios import Workbench

Measured = Callable[[Scenario[Any, Any]], Timed | None]


@pytest.fixture(scope="session")
def workbench() -> Workbench:
    return Workbench.open()


@pytest.fixture
def measured(benchmark: Any) -> Measured:
    """Times a scenario in pytest-benchmark's table, checking every answer; None with --benchmark-disable."""

    def measure(scenario: Scenario[Any, Any]) -> Timed | None:
        inputs = iter(scenario.inputs)
        log = AnswerLog(scenario)
        answers: list[Any] = []
        warm_up(scenario)
        with garbage_collection_off():
            benchmark.pedantic(
                lambda given: answers.append(scenario.call(given)),
                setup=lambda: ((next(inputs),), {}),
                teardown=lambda given: log.add(given, answers.pop()),
                rounds=len(scenario.inputs),
                iterations=1,
            )
        log.check()
        if benchmark.disabled:
            return None
        timed = Timed(np.array(benchmark.stats.stats.data) * 1e6, log.laps_us)
        benchmark.extra_info["call_us"] = asdict(summary(timed.durations_us))
        for stage, durations in timed.stages.items():
            benchmark.extra_info[f"{stage}_us"] = asdict(summary(durations))
        return timed

    return measure

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from bench.conftest import Measured
from bench.measure import Scenario, closed_loop, interleaved, ratio_of_medians, summary
from bench.scenarios import Workbench, first
from guidealign_engine.timing import STAGES


@pytest.fixture
def measured_by_stage(measured: Measured, benchmark: Any) -> Any:
    """Like `measured`, with all stages looked at and the time outside tokenising and encoding in the report."""

    def measure(scenario: Scenario[Any, Any]) -> None:
        timed = measured(scenario)
        if timed is None:
            return
        assert tuple(timed.stages) == STAGES
        within = sum(timed.stages.values())
        assert (within <= timed.durations_us).all(), "the stages take longer than the call"
        benchmark.extra_info["rest_us"] = asdict(summary(timed.rest_us))

    return measure


def test_the_engine_finds_what_an_exact_search_finds(workbench: Workbench) -> None:
    workbench.check_against_oracle()


def test_one_short_prompt(measured_by_stage: Any, workbench: Workbench) -> None:
    measured_by_stage(workbench.short())


def test_one_short_prompt_with_six_guidelines(measured_by_stage: Any, workbench: Workbench) -> None:
    measured_by_stage(workbench.short_six())


def test_one_long_prompt(measured_by_stage: Any, workbench: Workbench) -> None:
    measured_by_stage(workbench.long())


def test_deduplicating_20_candidates_of_200_characters(measured: Measured, workbench: Workbench) -> None:
    measured(workbench.dedupe())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("size", "calls"), [(1, 400), (8, 200), (64, 100)])
def test_batch(measured: Measured, benchmark: Any, workbench: Workbench, size: int, calls: int, threads: int) -> None:
    timed = measured(workbench.batch(size=size, threads=threads, calls=calls))
    if timed is not None:
        benchmark.extra_info["prompts_per_s"] = size * 1e6 / float(np.median(timed.durations_us))


def test_two_clients_against_one(benchmark: Any, workbench: Workbench) -> None:
    scenario = workbench.batch(size=64, threads=1, calls=30)
    one, two = (closed_loop(scenario, clients=count) for count in (1, 2))
    benchmark.extra_info["two_clients_over_one"] = two / one
    benchmark.pedantic(closed_loop, (first(scenario, 10),), {"clients": 2}, rounds=1)


def test_two_threads_against_one(measured: Measured, benchmark: Any, workbench: Workbench) -> None:
    one = workbench.batch(size=64, threads=1, calls=30)
    two = workbench.batch(size=64, threads=2, calls=30)
    benchmark.extra_info["two_threads_over_one"] = ratio_of_medians(*interleaved(one, two, rounds=3))
    measured(first(two, 10))

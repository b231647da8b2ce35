from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from bench import fresh_process
from bench.measure import Timed, summary
from bench.scenarios import Workbench, timed_imports, timed_loads

RUNS = 7


@pytest.fixture
def record(benchmark: Any) -> Any:
    """Puts times that fresh processes took into the report; the benchmark itself times one of them from outside."""

    def put(timed: Timed) -> None:
        benchmark.extra_info["took_us"] = asdict(summary(timed.durations_us))

    return put


def test_import_stays_light(benchmark: Any, record: Any) -> None:
    benchmark.pedantic(fresh_process.import_module, rounds=1)
    record(timed_imports(RUNS))


def test_load_engine(benchmark: Any, record: Any, workbench: Workbench) -> None:
    benchmark.pedantic(lambda: timed_loads(workbench, 1), rounds=1)
    record(timed_loads(workbench, RUNS))

"""Time spent in each stage of a request."""

from __future__ import annotations

from time import perf_counter_ns

STAGES = ("query", "tokenize", "encode", "search", "rerank", "select", "assemble")


class StageTimer:
    """Splits a request into stages: each `lap` is the time since the one before, in microseconds."""

    __slots__ = ("_last_ns", "laps_us")

    def __init__(self) -> None:
        self.laps_us: dict[str, float] = {}
        self._last_ns = perf_counter_ns()

    def lap(self, stage: str) -> None:
        now_ns = perf_counter_ns()
        self.laps_us[stage] = self.laps_us.get(stage, 0.0) + (now_ns - self._last_ns) / 1000.0
        self._last_ns = now_ns

"""The figures: what each says, in which unit, and what was promised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from bench.measure import Summary


class Unit(Enum):
    """How a figure is stored and shown."""

    US = ("us", lambda value: f"{value:,.0f} µs" if value >= 10 else f"{value:.1f} µs")
    MS = ("us", lambda value: f"{value / 1000:.1f} ms" if value < 100_000 else f"{value / 1000:.0f} ms")
    RATE = ("prompts/s", lambda value: f"{value:,.0f} /s")
    TIMES = ("x", lambda value: f"{value:.3g} ×")

    def __init__(self, stored: str, show: Callable[[float], str]) -> None:
        self.stored = stored
        self.show = show


@dataclass(frozen=True, slots=True)
class FigureInfo:
    """One row of a table. Limits are in the stored unit; `at_least` turns them round."""

    name: str
    table: str
    what: str
    unit: Unit = Unit.US
    p50: float | None = None
    p99: float | None = None
    at_least: bool = False

    @property
    def target(self) -> str:
        sign = "≥" if self.at_least else "≤"
        if self.p50 is not None and self.p99 is None and self.unit in (Unit.RATE, Unit.TIMES):
            return f"{sign} {self.unit.show(self.p50)}"
        limits = (("p50", self.p50), ("p99", self.p99))
        return ", ".join(f"{name} {sign} {self.unit.show(limit)}" for name, limit in limits if limit is not None)

    def met(self, found: Summary) -> bool | None:
        """None where nothing was promised."""
        pairs = [(value, limit) for value, limit in ((found.p50, self.p50), (found.p99, self.p99)) if limit is not None]
        if not pairs:
            return None
        return all(
            value is not None and (value >= limit if self.at_least else value <= limit) for value, limit in pairs
        )


_STAGES = {
    "query": "query: newest turn, bounded text",
    "tokenize": "tokenize",
    "encode": "encode",
    "search": "search",
    "rerank": "rerank",
    "select": "select",
    "assemble": "assemble",
}

FIGURES = (
    FigureInfo("short", "Targets", "one prompt of at most 64 tokens, text to messages", p50=300, p99=1000),
    FigureInfo("long", "Targets", "one prompt of about 512 tokens", p50=1000),
    FigureInfo("rest", "Targets", "one short prompt, all but tokenize and encode", p50=80),
    FigureInfo("recipe_ratio", "Targets", "the recipe's time / ours, one thread", Unit.TIMES, p50=40, at_least=True),
    FigureInfo("dedupe", "Targets", "20 candidates of 200 characters, duplicates out", p50=50),
    FigureInfo("clients_2", "Targets", "batches of 64, two client threads", Unit.RATE, p50=8000, at_least=True),
    FigureInfo(
        "clients",
        "Targets",
        "batches of 64, two client threads on one engine / one",
        Unit.TIMES,
        p50=1.7,
        at_least=True,
    ),
    FigureInfo(
        "threads",
        "Targets",
        "one batch of 64 split by `threads=2` / by `threads=1`",
        Unit.TIMES,
        p50=1.7,
        at_least=True,
    ),
    FigureInfo("import", "Targets", "`import guidealign_engine`, fresh process", Unit.MS, p50=150_000),
    FigureInfo("load", "Targets", "import and `load_engine`, fresh process", Unit.MS, p50=600_000),
    *(FigureInfo(f"stage_{stage}", "Stages of one short prompt", what) for stage, what in _STAGES.items()),
    FigureInfo("short_six", "Variants", "one short prompt, thresholds off: always six guidelines"),
    FigureInfo("import_numpy", "Variants", "of the import, `import numpy` alone", Unit.MS),
    *(
        FigureInfo(f"batch_{size}_threads_{threads}", "Batches", f"batches of {size}, threads={threads}", Unit.RATE)
        for size, threads in ((1, 1), (1, 2), (8, 1), (8, 2), (64, 1), (64, 2), (256, 1), (256, 2))
    ),
    FigureInfo("threads_256", "Batches", "one batch of 256 split by `threads=2` / by `threads=1`", Unit.TIMES),
    FigureInfo("recipe", "The recipe", "the recipe, one short prompt", Unit.MS),
    FigureInfo("beside_recipe", "The recipe", "the engine between rounds of the recipe, six guidelines"),
)

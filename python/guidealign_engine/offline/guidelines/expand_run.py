"""What `guidealign library expand` does: open the models, ask, and write what came of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from guidealign_engine.commands.model_cost import cost_of, duration, spent
from guidealign_engine.errors import ArtifactError
from guidealign_engine.offline.guidelines.answer_store import AnswerStore
from guidealign_engine.offline.guidelines.chat_model import ChatModel, Endpoint, Usage
from guidealign_engine.offline.guidelines.detect import DetectorKind, detector
from guidealign_engine.offline.guidelines.expand import ExpandConfig, Expansion, Standing, expand
from guidealign_engine.offline.guidelines.expand_models import Judge, Writer
from guidealign_engine.offline.guidelines.input_vectors import input_embedder
from guidealign_engine.offline.guidelines.inputs import Input
from guidealign_engine.offline.guidelines.whole_files import written_whole

INPUTS = "inputs.jsonl"
SKIPPED = "skipped.jsonl"
_STORE = "answers.sqlite"
_REPORT_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Who is asked, and how. judge: None where the writer judges. samples: verdicts on an input, 0 to ask for none."""

    writer: Endpoint
    judge: Endpoint | None
    detector: DetectorKind
    samples: int
    temperature: float
    max_tokens: int
    prices: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it, and what it cost. left_out: options that an endpoint does not take."""

    found: Expansion
    cost: dict[str, float]
    left_out: Sequence[str]

    @property
    def lacking(self) -> int:
        return self.found.wanted - len(self.found.new)


def run(
    seeds: Sequence[Input],
    config: ExpandConfig,
    asking: Asking,
    vectors: str,
    out: Path,
    report: Callable[[str], None],
) -> Outcome:
    """Both files in `out` appear whole when all is done; answers are kept one by one."""
    embed = input_embedder(vectors, report)
    report(f"{len(seeds)} seeds of {len({item.category for item in seeds})} risk types")
    with closing(AnswerStore(out / _STORE)) as store, asyncio.Runner() as runner:
        models = AsyncExitStack()
        writer = judge = runner.run(models.enter_async_context(ChatModel(asking.writer, store)))
        if asking.judge is not None:
            judge = runner.run(models.enter_async_context(ChatModel(asking.judge, store)))
        usages = [writer.usage] if judge is writer else [writer.usage, judge.usage]
        progress = _Progress(usages, asking.prices, report)
        writes = Writer(
            model=writer,
            runner=runner,
            temperature=asking.temperature,
            max_tokens=asking.max_tokens,
            on_answer=progress.on_answer,
        )
        judges = Judge(
            model=judge,
            runner=runner,
            detector=detector(asking.detector),
            samples=asking.samples,
            on_answer=progress.on_verdict,
        )
        unsure = judges.unsure if asking.samples else None
        try:
            found = expand(seeds, config, ask=writes.ask, embed=embed, unsure=unsure, on_round=progress.on_round)
        finally:
            runner.run(models.aclose())
        _write(found, asking.writer.model, out)
        return Outcome(found, progress.cost(), sorted(writer.left_out | judge.left_out))


def _write(found: Expansion, model: str, out: Path) -> None:
    try:
        with written_whole([out / INPUTS, out / SKIPPED]) as (inputs, skipped):
            for item in found.new:
                source = f"expanded by {model}, {item.place}"
                inputs.write(_line({"input": item.text, "category": item.category, "source": source}))
            for call in found.tally.skipped:
                skipped.write(_line(asdict(call)))
    except OSError as error:
        raise ArtifactError(
            f"the inputs cannot be written: {error.strerror}; all answers are kept, so make room and run the same "
            "command again",
            file=out,
        ) from error


def _line(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False) + "\n"


class _Progress:
    """Says once a second how far a run is, what it has cost and how long it may still take."""

    def __init__(self, usages: Sequence[Usage], prices: tuple[float, float], report: Callable[[str], None]) -> None:
        self._usages = usages
        self._prices = prices
        self._report = report
        self._standing = Standing(round=1, calls=0, new=0, wanted=0)
        self._calls_before = 0
        self._answers = 0
        self._verdicts = 0
        self._begin = self._last = monotonic()
        self._answered_before = 0

    def on_round(self, standing: Standing) -> None:
        self._calls_before += self._answers
        self._answers = 0
        self._standing = standing
        self._report(
            f"round {standing.round}: {standing.calls} calls, {standing.new} of {standing.wanted} new inputs so far"
        )

    def on_answer(self) -> None:
        self._answers += 1
        self._say(f"{self._answers} of {self._standing.calls} calls of round {self._standing.round}")

    def on_verdict(self) -> None:
        self._verdicts += 1
        self._say(f"{self._verdicts} verdicts")

    def cost(self) -> dict[str, float]:
        return cost_of(self._usages, *self._prices)

    def _say(self, done: str) -> None:
        now = monotonic()
        if not any(usage.calls for usage in self._usages):
            # What was answered in an earlier run takes no time, and says nothing about the rest.
            self._begin, self._answered_before = now, self._calls_before + self._answers
        if now - self._last >= _REPORT_EVERY_S:
            self._last = now
            self._report(f"  {done}, {spent(self.cost())}{self._left(now - self._begin)}")

    def _left(self, passed_s: float) -> str:
        """An estimate from the rounds that are done; in the first one nobody knows what a call brings."""
        standing, calls = self._standing, self._calls_before + self._answers
        if not standing.new or calls == self._answered_before:
            return ""
        needed = self._calls_before / standing.new * (standing.wanted - standing.new) - self._answers
        seconds = passed_s / (calls - self._answered_before) * max(0.0, needed)
        return f", about {duration(seconds)} left"

"""What `guidealign library generate` does: count the inputs, open the models, ask, and say how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic

from guidealign_engine.commands.model_cost import cost_of, duration, spent
from guidealign_engine.errors import ArtifactError
from guidealign_engine.offline.guidelines.answer_store import AnswerStore
from guidealign_engine.offline.guidelines.chat_model import ChatModel, Endpoint, Usage
from guidealign_engine.offline.guidelines.detect import DetectorKind, detector
from guidealign_engine.offline.guidelines.generate import Models, Tally, generate
from guidealign_engine.offline.guidelines.inputs import Input, read_inputs

_STORE = "answers.sqlite"
_REPORT_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Who is asked, and how. judge: None where the writer judges."""

    writer: Endpoint
    judge: Endpoint | None
    detector: DetectorKind
    temperature: float
    max_tokens: int
    prices: tuple[float, float]


@dataclass(slots=True)
class Reading:
    """Inputs of files. They are counted first, and read anew when they are wanted, so that none has to be held.

    on_skip: is told what is wrong with a record, once.
    """

    paths: Sequence[Path]
    text_field: str | None
    category_field: str
    strict: bool
    on_skip: Callable[[ArtifactError], None]
    unread: int = field(default=0, init=False)

    def count_and_inputs(self) -> tuple[int, Iterable[Input]]:
        if any(path.exists() and not path.is_file() and not path.is_dir() for path in self.paths):
            # A pipe can be read once.
            held = list(self._read(self._count_skip))
            return len(held), held
        return sum(1 for _ in self._read(self._count_skip)), self._read(lambda error: None)

    def _read(self, on_skip: Callable[[ArtifactError], None]) -> Iterable[Input]:
        return read_inputs(
            self.paths,
            strict=self.strict,
            on_skip=on_skip,
            text_field=self.text_field,
            category_field=self.category_field,
        )

    def _count_skip(self, error: ArtifactError) -> None:
        self.unread += 1
        self.on_skip(error)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the inputs, and what it cost. left_out: options that an endpoint does not take."""

    tally: Tally
    unread: int
    cost: dict[str, float]
    left_out: Sequence[str]


def run(reading: Reading, asking: Asking, out: Path, report: Callable[[str], None]) -> Outcome:
    """Raises ArtifactError for inputs that cannot be read before anything is asked or written."""
    count, inputs = reading.count_and_inputs()
    return asyncio.run(_run(count, inputs, reading, asking, out, report))


async def _run(
    count: int, inputs: Iterable[Input], reading: Reading, asking: Asking, out: Path, report: Callable[[str], None]
) -> Outcome:
    with closing(AnswerStore(out / _STORE)) as store:
        async with AsyncExitStack() as stack:
            writer = await stack.enter_async_context(ChatModel(asking.writer, store))
            judge = writer
            if asking.judge is not None:
                judge = await stack.enter_async_context(ChatModel(asking.judge, store))
            chosen = detector(asking.detector)
            if asking.detector is DetectorKind.SELF:
                chosen = replace(chosen, max_tokens=asking.max_tokens)
            models = Models(
                writer=writer,
                judge=judge,
                detector=chosen,
                temperature=asking.temperature,
                max_tokens=asking.max_tokens,
            )
            usages = [writer.usage] if judge is writer else [writer.usage, judge.usage]
            progress = _Progress(count, usages, asking.prices, report)
            tally = await generate(inputs, models, out, progress)
            return Outcome(tally, reading.unread, progress.cost(), sorted(writer.left_out | judge.left_out))


class _Progress:
    """Says once a second how far a run is, what it has cost and how long it will take."""

    def __init__(
        self, inputs: int, usages: Sequence[Usage], prices: tuple[float, float], report: Callable[[str], None]
    ) -> None:
        self._inputs = inputs
        self._usages = usages
        self._prices = prices
        self._report = report
        self._begin = self._last = monotonic()
        self._answered_before = 0

    def __call__(self, tally: Tally) -> None:
        now = monotonic()
        done = tally.inputs + tally.repeated
        if not any(usage.calls for usage in self._usages):
            # What was answered in an earlier run takes no time, and says nothing about the rest.
            self._begin, self._answered_before = now, done
        if now - self._last >= _REPORT_EVERY_S:
            self._last = now
            self._report(
                f"  {done} of {self._inputs} inputs, {tally.guidelines} guidelines, {tally.skipped} skipped, "
                f"{spent(self.cost())}{self._left(done, now)}"
            )

    def _left(self, done: int, now: float) -> str:
        since = done - self._answered_before
        if since == 0:
            return ""
        return f", about {duration((now - self._begin) / since * (self._inputs - done))} left"

    def cost(self) -> dict[str, float]:
        return cost_of(self._usages, *self._prices)

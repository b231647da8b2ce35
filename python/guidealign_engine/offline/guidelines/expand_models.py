"""The models behind `expand`: one that writes inputs, and one whose verdicts show where it is unsure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from guidealign_engine.errors import GuidealignError
from guidealign_engine.offline.guidelines.answer_store import Answer
from guidealign_engine.offline.guidelines.chat_model import AnswerError, ChatModel
from guidealign_engine.offline.guidelines.detect import Detector, Verdict, disagreement
from guidealign_engine.offline.guidelines.expand import NumberedQuestion
from guidealign_engine.offline.guidelines.new_inputs import NEW_INPUTS_SCHEMA

# At temperature 0 a judge agrees with itself, however close the call was.
_JUDGE_TEMPERATURE = 1.0

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Asks all questions of a round at once, as far as the endpoint's concurrency lets it."""

    model: ChatModel
    runner: asyncio.Runner
    temperature: float
    max_tokens: int
    on_answer: Callable[[], None]

    def ask(self, questions: Sequence[NumberedQuestion]) -> list[Answer | GuidealignError]:
        """Answers in the order of the questions, the error for one that got none. Raises EndpointError."""
        return self.runner.run(_all([self._answer(question) for question in questions]))

    async def _answer(self, asked: NumberedQuestion) -> Answer | GuidealignError:
        try:
            return await self.model.answer(
                asked.question,
                schema=NEW_INPUTS_SCHEMA,
                temperature=self.temperature,
                max_tokens=self.max_tokens,
                number=asked.number,
            )
        except AnswerError as error:
            return error
        finally:
            self.on_answer()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Asks a detector about the same text several times, and measures how far its verdicts disagree."""

    model: ChatModel
    runner: asyncio.Runner
    detector: Detector
    samples: int
    on_answer: Callable[[], None]

    def unsure(self, texts: Sequence[str]) -> list[float]:
        """For each text from 0, all verdicts the same or none to be had, to 1, evenly split. Raises EndpointError."""
        verdicts = self.runner.run(
            _all([self._verdict(text, number) for text in texts for number in range(self.samples)])
        )
        rows = [verdicts[start : start + self.samples] for start in range(0, len(verdicts), self.samples)]
        return [disagreement([verdict for verdict in row if verdict is not None]) for row in rows]

    async def _verdict(self, text: str, number: int) -> Verdict | None:
        try:
            answer = await self.model.answer(
                self.detector.question(text),
                schema=self.detector.schema,
                temperature=_JUDGE_TEMPERATURE,
                max_tokens=self.detector.max_tokens,
                number=f"sample {number}",
            )
        except AnswerError:
            return None
        finally:
            self.on_answer()
        return self.detector.read(answer.text)


async def _all(calls: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Results in the order of the calls; the first error ends all."""
    tasks = [asyncio.create_task(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

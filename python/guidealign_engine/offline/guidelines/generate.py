"""Inputs to guidelines: risk detection, writing, records and pairs, resumable at every answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from guidealign_engine.library import GuidelineRecord
from guidealign_engine.offline.guidelines.chat_model import AnswerError, ChatModel
from guidealign_engine.offline.guidelines.detect import Detector, Verdict
from guidealign_engine.offline.guidelines.inputs import Input
from guidealign_engine.offline.guidelines.whole_files import written_whole
from guidealign_engine.offline.guidelines.write_guidelines import (
    MAX_TOKENS,
    SCHEMA,
    ask_for_guidelines,
    read_guidelines_of,
    record_of,
)

GUIDELINES = "guidelines.jsonl"
PAIRS = "pairs.jsonl"
SKIPPED = "skipped.jsonl"
# An answer that cannot be read is asked for again: at the temperature of writing the next one differs.
_TRIES = 3
# Inputs under way for each call that may run: enough that no slot waits, few enough to hold in memory.
_INPUTS_PER_SLOT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Who writes, who judges, and how the judge is asked."""

    writer: ChatModel
    judge: ChatModel
    detector: Detector
    temperature: float = 0.7


@dataclass(slots=True)
class Tally:
    """What became of the inputs."""

    inputs: int = 0
    unsafe: int = 0
    guidelines: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class _Outcome:
    source: Input
    unsafe: bool = False
    records: list[GuidelineRecord] = field(default_factory=list)
    skipped: str | None = None


async def generate(
    inputs: Iterable[Input], models: Models, folder: Path, on_progress: Callable[[Tally], None]
) -> Tally:
    """Writes guidelines.jsonl, pairs.jsonl and skipped.jsonl into `folder`, in the order of the inputs.

    All three appear whole when the last input is done. Raises EndpointError and ArtifactError; answers are in the
    models' stores by then, so the next run asks for none of them again, and writes the same files for the same answers.
    """
    tally = Tally()
    with written_whole([folder / name for name in (GUIDELINES, PAIRS, SKIPPED)]) as (guidelines, pairs, skipped):
        async for outcome in _in_order(inputs, models):
            tally.inputs += 1
            tally.unsafe += outcome.unsafe
            tally.guidelines += len(outcome.records)
            for record in outcome.records:
                guidelines.write(_line({**asdict(record), "examples": list(record.examples), "tags": []}))
            if outcome.records:
                ids = [record.id for record in outcome.records]
                pairs.write(_line({"input": outcome.source.text, "positive": ids, "split": "train"}))
            if outcome.skipped is not None:
                tally.skipped += 1
                skipped.write(
                    _line({"input": outcome.source.text, "place": outcome.source.place, "why": outcome.skipped})
                )
            on_progress(tally)
    return tally


def _line(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False) + "\n"


async def _in_order(inputs: Iterable[Input], models: Models) -> AsyncIterator[_Outcome]:
    """Outcomes in the order of the inputs, a bounded number of them under way."""
    most = _INPUTS_PER_SLOT * models.writer.endpoint.concurrency
    under_way: list[asyncio.Task[_Outcome]] = []
    try:
        for source in inputs:
            under_way.append(asyncio.create_task(_outcome(source, models)))
            if len(under_way) == most:
                yield await under_way.pop(0)
        while under_way:
            yield await under_way.pop(0)
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def _outcome(source: Input, models: Models) -> _Outcome:
    try:
        verdict = await _verdict(source.text, models)
        written = await _guidelines(source.text, verdict.unsafe, models)
    except AnswerError as error:
        return _Outcome(source, skipped=str(error))
    records = [record_of(title, text, source, unsafe=verdict.unsafe) for title, text in written]
    return _Outcome(source, verdict.unsafe, records)


async def _verdict(text: str, models: Models) -> Verdict:
    detector = models.detector
    for number in range(_TRIES):
        answer = await models.judge.answer(
            detector.question(text),
            schema=detector.schema,
            temperature=detector.temperature,
            max_tokens=detector.max_tokens,
            number=str(number),
        )
        verdict = detector.read(answer.text)
        if verdict is not None:
            return verdict
    raise AnswerError(f"no verdict in {_TRIES} answers; the last: {answer.text[:80]!r}")


async def _guidelines(text: str, unsafe: bool, models: Models) -> list[tuple[str, str]]:
    for number in range(_TRIES):
        answer = await models.writer.answer(
            ask_for_guidelines(text, unsafe=unsafe),
            schema=SCHEMA,
            temperature=models.temperature,
            max_tokens=MAX_TOKENS,
            number=str(number),
        )
        written = read_guidelines_of(answer.text)
        if written:
            return written
    raise AnswerError(f"no guideline in {_TRIES} answers; the last: {answer.text[:80]!r}")

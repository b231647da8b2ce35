"""Inputs to guidelines: risk detection, writing, records and pairs, resumable at every answer."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from guidealign_engine.errors import ArtifactError
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.offline.guidelines.answer_store import Answer
from guidealign_engine.offline.guidelines.chat_model import AnswerError, ChatModel
from guidealign_engine.offline.guidelines.detect import Detector, Verdict
from guidealign_engine.offline.guidelines.inputs import Input
from guidealign_engine.offline.guidelines.read_guidelines import read_guidelines_of
from guidealign_engine.offline.guidelines.whole_files import written_whole
from guidealign_engine.offline.guidelines.write_guidelines import SCHEMA, ask_for_guidelines, fields_of, record_of

GUIDELINES = "guidelines.jsonl"
PAIRS = "pairs.jsonl"
SKIPPED = "skipped.jsonl"
# An answer that cannot be read is asked for again: above temperature 0 the next one differs.
_TRIES = 3
# Inputs that are begun or done while the one in front of them is still slow; few enough to hold in memory.
_LEAST_UNDER_WAY = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Who writes, who judges, and how both are asked."""

    writer: ChatModel
    judge: ChatModel
    detector: Detector
    temperature: float = 0.7
    max_tokens: int = 1024


@dataclass(slots=True)
class Tally:
    """What became of the inputs. repeated: came again, and were passed over."""

    inputs: int = 0
    unsafe: int = 0
    guidelines: int = 0
    skipped: int = 0
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class _Outcome:
    given: Input
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
    with _results(folder) as (guidelines, pairs, skipped):
        async for outcome in _in_order(_each_once(inputs, tally), models):
            tally.inputs += 1
            tally.unsafe += outcome.unsafe
            tally.guidelines += len(outcome.records)
            for record in outcome.records:
                guidelines.write(_line(fields_of(record)))
            if outcome.records:
                ids = [record.id for record in outcome.records]
                pairs.write(_line({"input": outcome.given.text, "positive": ids, "split": "train"}))
            if outcome.skipped is not None:
                tally.skipped += 1
                skipped.write(
                    _line({"input": outcome.given.text, "place": outcome.given.place, "why": outcome.skipped})
                )
            on_progress(tally)
    return tally


@contextmanager
def _results(folder: Path) -> Iterator[list[TextIO]]:
    try:
        with written_whole([folder / name for name in (GUIDELINES, PAIRS, SKIPPED)]) as files:
            yield files
    except OSError as error:
        raise ArtifactError(
            f"the guidelines cannot be written: {error.strerror}; all answers are kept, so make room and run the same "
            "command again",
            file=folder,
        ) from error


def _line(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False) + "\n"


def _each_once(inputs: Iterable[Input], tally: Tally) -> Iterator[Input]:
    """Its guidelines would be the same, and so would their ids."""
    seen = set[bytes]()
    for given in inputs:
        digest = hashlib.blake2b(given.text.encode(), digest_size=16).digest()
        if digest in seen:
            tally.repeated += 1
        else:
            seen.add(digest)
            yield given


async def _in_order(inputs: Iterable[Input], models: Models) -> AsyncIterator[_Outcome]:
    """Outcomes in the order of the inputs, a bounded number of them under way."""
    busy = sum(model.endpoint.concurrency for model in {models.writer, models.judge})
    # An input that was begun is finished first: one for each call that may run, the others wait.
    slots = asyncio.Semaphore(busy)
    most = max(_LEAST_UNDER_WAY, 2 * busy)
    under_way = deque[asyncio.Task[_Outcome]]()
    try:
        for given in inputs:
            under_way.append(asyncio.create_task(_outcome(given, models, slots)))
            if len(under_way) == most:
                yield await under_way.popleft()
        while under_way:
            yield await under_way.popleft()
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def _outcome(given: Input, models: Models, slots: asyncio.Semaphore) -> _Outcome:
    try:
        async with slots:
            verdict = await _verdict(given.text, models)
            written = await _guidelines(given.text, verdict.unsafe, models)
    except AnswerError as error:
        return _Outcome(given, skipped=str(error))
    source = f"generated by {models.writer.endpoint.model}"
    records = [record_of(title, text, given, unsafe=verdict.unsafe, source=source) for title, text in written]
    return _Outcome(given, verdict.unsafe, records)


async def _verdict(text: str, models: Models) -> Verdict:
    detector = models.detector
    tries = _TRIES if detector.temperature > 0 else 1
    for number in range(tries):
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
    raise _unreadable("verdict", tries, answer)


async def _guidelines(text: str, unsafe: bool, models: Models) -> list[tuple[str, str]]:
    tries = _TRIES if models.temperature > 0 else 1
    for number in range(tries):
        answer = await models.writer.answer(
            ask_for_guidelines(text, unsafe=unsafe),
            schema=SCHEMA,
            temperature=models.temperature,
            max_tokens=models.max_tokens,
            number=str(number),
        )
        written = read_guidelines_of(answer.text, cut=answer.cut)
        if written:
            return written
    raise _unreadable("guideline", tries, answer)


def _unreadable(wanted: str, tries: int, last: Answer) -> AnswerError:
    answers = f"{tries} answers" if tries > 1 else "the answer"
    cut = f", cut off after {last.completion_tokens} tokens" if last.cut else ""
    return AnswerError(f"no {wanted} in {answers}; the last{cut}: {last.text[:80]!r}")

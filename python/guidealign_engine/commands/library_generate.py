"""`guidealign library generate`."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from guidealign_engine.commands import show
from guidealign_engine.commands.options import AsJson
from guidealign_engine.config import choose
from guidealign_engine.errors import ArtifactError, ConfigError
from guidealign_engine.optional_packages import import_optional

if TYPE_CHECKING:
    from guidealign_engine.offline.guidelines.chat_model import Endpoint, Usage
    from guidealign_engine.offline.guidelines.detect import DetectorKind
    from guidealign_engine.offline.guidelines.generate import Tally
    from guidealign_engine.offline.guidelines.inputs import Input

_STORE = "answers.sqlite"
_REPORT_EVERY_S = 1.0
_SKIPS_SHOWN = 5


def generate(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="INPUTS...", help="What users write: .txt, .jsonl, .csv or .parquet files, or folders."),
    ],
    base_url: Annotated[str, typer.Option("--base-url", metavar="URL", help="An OpenAI-compatible endpoint.")],
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="The safety-trained model that writes.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for what comes out, and for all answers.")],
    key_env: Annotated[
        str, typer.Option("--key-env", metavar="NAME", help="Environment variable that holds the key.")
    ] = "OPENAI_API_KEY",
    detector: Annotated[
        str, typer.Option("--detector", help="Who judges risk: self (the model), llama-guard or shieldgemma.")
    ] = "self",
    detector_model: Annotated[
        str | None, typer.Option("--detector-model", metavar="NAME", help="The guard model; needed for guards.")
    ] = None,
    detector_url: Annotated[
        str | None, typer.Option("--detector-url", metavar="URL", help="Its endpoint, if it is another one.")
    ] = None,
    field: Annotated[
        str | None, typer.Option("--field", metavar="NAME", help="Field of the text; else input, prompt or text.")
    ] = None,
    category_field: Annotated[
        str, typer.Option("--category-field", metavar="NAME", help="Field of the risk type, copied to the guidelines.")
    ] = "category",
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, max=2.0, help="Of the writing.")] = 0.7,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Calls at a time.")] = 16,
    attempts: Annotated[int, typer.Option("--attempts", min=1, help="Tries for each call, with growing pauses.")] = 6,
    timeout_s: Annotated[float, typer.Option("--timeout-s", min=0.1, help="Seconds for one answer.")] = 120.0,
    price_in: Annotated[float, typer.Option("--price-in", min=0.0, help="Price of a million tokens read.")] = 0.0,
    price_out: Annotated[float, typer.Option("--price-out", min=0.0, help="Price of a million tokens written.")] = 0.0,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first record that cannot be read.")] = False,
    as_json: AsJson = False,
) -> None:
    """Have a model find the risk in inputs and write guidelines for them: stage 1 of Guide-Align.

    Each input is judged, then answered with one to four guidelines: for safety if it is risky, for quality if not. DIR
    gets guidelines.jsonl, pairs.jsonl and skipped.jsonl. Every answer is kept in DIR/answers.sqlite at once, so a run
    that was stopped goes on where it was, and asks for nothing twice.

    guidealign library generate prompts.jsonl --base-url http://localhost:8000/v1 --model my-model --out raw

    guidealign library merge raw/guidelines.jsonl --pairs raw/pairs.jsonl --out library.jsonl
    """
    for module, package in (("openai", "openai"), ("tenacity", "tenacity")):
        import_optional(module, package=package, extra="offline", purpose="asking a model")
    from guidealign_engine.offline.guidelines.chat_model import Endpoint
    from guidealign_engine.offline.guidelines.detect import DetectorKind
    from guidealign_engine.offline.guidelines.inputs import read_inputs

    kind = choose(DetectorKind, detector, "--detector")
    if kind is not DetectorKind.SELF and detector_model is None:
        raise ConfigError(f"--detector {detector} needs --detector-model, the name of the guard at its endpoint")
    key = os.environ.get(key_env, "")
    writer = Endpoint(
        base_url=base_url, model=model, key=key, concurrency=concurrency, timeout_s=timeout_s, attempts=attempts
    )
    judge = None
    if detector_model is not None or detector_url is not None:
        judge = Endpoint(
            base_url=detector_url or base_url,
            model=detector_model or model,
            key=key,
            concurrency=concurrency,
            timeout_s=timeout_s,
            attempts=attempts,
        )
    unread: list[ArtifactError] = []

    def on_skip(error: ArtifactError) -> None:
        unread.append(error)
        if len(unread) <= _SKIPS_SHOWN:
            typer.echo(f"skipped: {error}", err=True)

    read = list(read_inputs(inputs, strict=strict, on_skip=on_skip, text_field=field, category_field=category_field))
    with show.progress() as report:
        progress = _Progress(len(read), price_in, price_out, report)
        tally = asyncio.run(_run(read, writer, judge, kind, temperature, out, progress))
    record = {
        "inputs": tally.inputs,
        "unsafe": tally.unsafe,
        "guidelines": tally.guidelines,
        "skipped": tally.skipped,
        "unread": len(unread),
        **progress.cost(),
    }
    if as_json:
        typer.echo(json.dumps(record))
    else:
        typer.echo(
            f"{out}: {tally.guidelines} guidelines for {tally.inputs - tally.skipped} inputs, {tally.unsafe} of them "
            f"risky; {tally.skipped} skipped; {progress.spent()}"
        )
    if tally.skipped or unread:
        listed = f"; see {out / 'skipped.jsonl'}" if tally.skipped else ""
        typer.echo(
            f"{tally.skipped} inputs got no guidelines and {len(unread)} records were unreadable{listed}", err=True
        )
        raise typer.Exit(1)


class _Progress:
    """Says once a second how far a run is, what it has cost and how long it will take."""

    def __init__(self, inputs: int, price_in: float, price_out: float, report: Callable[[str], None]) -> None:
        self.usages: list[Usage] = []
        self._inputs = inputs
        self._prices = (price_in, price_out)
        self._report = report
        self._begin = self._last = monotonic()

    def __call__(self, tally: Tally) -> None:
        now = monotonic()
        if now - self._last < _REPORT_EVERY_S:
            return
        self._last = now
        left_s = (now - self._begin) / tally.inputs * (self._inputs - tally.inputs)
        self._report(
            f"  {tally.inputs} of {self._inputs} inputs, {tally.guidelines} guidelines, {tally.skipped} skipped, "
            f"{self.spent()}, about {_duration(left_s)} left"
        )

    def cost(self) -> dict[str, float]:
        read = sum(usage.prompt_tokens for usage in self.usages)
        written = sum(usage.completion_tokens for usage in self.usages)
        price = (read * self._prices[0] + written * self._prices[1]) / 1e6
        calls, reused = (sum(getattr(usage, name) for usage in self.usages) for name in ("calls", "reused"))
        record = {"calls": calls, "reused": reused, "prompt_tokens": read, "completion_tokens": written}
        return {**record, "cost": round(price, 4)} if any(self._prices) else record

    def spent(self) -> str:
        cost = self.cost()
        price = f", cost {cost['cost']:g}" if "cost" in cost else ""
        return (
            f"{cost['calls']} calls ({cost['reused']} answered before), {cost['prompt_tokens']:,} tokens read and "
            f"{cost['completion_tokens']:,} written{price}"
        )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes // 60} h {minutes % 60} min"
        if minutes >= 60
        else f"{minutes} min {rest} s"
        if minutes
        else f"{rest} s"
    )


async def _run(
    inputs: list[Input],
    writer: Endpoint,
    judge: Endpoint | None,
    kind: DetectorKind,
    temperature: float,
    out: Path,
    progress: _Progress,
) -> Tally:
    from guidealign_engine.offline.guidelines.answer_store import AnswerStore
    from guidealign_engine.offline.guidelines.chat_model import ChatModel
    from guidealign_engine.offline.guidelines.detect import detector
    from guidealign_engine.offline.guidelines.generate import Models
    from guidealign_engine.offline.guidelines.generate import generate as run

    with closing(AnswerStore(out / _STORE)) as store:
        async with AsyncExitStack() as stack:
            writes = await stack.enter_async_context(ChatModel(writer, store))
            judges = writes if judge is None else await stack.enter_async_context(ChatModel(judge, store))
            progress.usages = [writes.usage] if judges is writes else [writes.usage, judges.usage]
            models = Models(writer=writes, judge=judges, detector=detector(kind), temperature=temperature)
            return await run(inputs, models, out, progress)

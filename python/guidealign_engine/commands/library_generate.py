"""`guidealign library generate`."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from guidealign_engine.commands import show
from guidealign_engine.commands.endpoint_options import (
    Attempts,
    BaseUrl,
    Concurrency,
    Detector,
    DetectorKeyEnv,
    DetectorModel,
    DetectorUrl,
    KeyEnv,
    PriceIn,
    PriceOut,
    Temperature,
    TimeoutS,
    check_detector,
    endpoints,
)
from guidealign_engine.commands.model_cost import spent
from guidealign_engine.commands.model_keys import KEY_VARIABLE
from guidealign_engine.commands.options import AsJson
from guidealign_engine.config import choose
from guidealign_engine.errors import ArtifactError
from guidealign_engine.optional_packages import import_optional

if TYPE_CHECKING:
    from guidealign_engine.offline.guidelines.generate_run import Outcome

_SKIPS_SHOWN = 5
_ASKING = "Asking"


def generate(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="INPUTS...", help="What users write: .txt, .jsonl, .csv or .parquet files, or folders."),
    ],
    base_url: BaseUrl,
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="The safety-trained model that writes.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for what comes out, and for all answers.")],
    field: Annotated[
        str | None, typer.Option("--field", metavar="NAME", help="Field of the text; else input, prompt or text.")
    ] = None,
    category_field: Annotated[
        str, typer.Option("--category-field", metavar="NAME", help="Field of the risk type, copied to the guidelines.")
    ] = "category",
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first record that cannot be read.")] = False,
    detector: Detector = "self",
    detector_model: DetectorModel = None,
    detector_url: DetectorUrl = None,
    detector_key_env: DetectorKeyEnv = None,
    key_env: KeyEnv = KEY_VARIABLE,
    temperature: Temperature = 0.7,
    max_tokens: Annotated[
        int,
        typer.Option(
            "--max-tokens", min=64, help="Longest answer; more for models that think.", rich_help_panel=_ASKING
        ),
    ] = 1024,
    concurrency: Concurrency = 16,
    attempts: Attempts = 6,
    timeout_s: TimeoutS = 120.0,
    price_in: PriceIn = 0.0,
    price_out: PriceOut = 0.0,
    as_json: AsJson = False,
) -> None:
    """Have a model find the risk in inputs and write guidelines for them: stage 1 of Guide-Align.

    Each input is judged, then answered with one to four guidelines: for safety if it is risky, for quality if not. DIR
    gets guidelines.jsonl, pairs.jsonl and skipped.jsonl. Every answer is kept in DIR/answers.sqlite at once, so a run
    that was stopped goes on where it was, and asks for nothing twice. Ends with 1 when an input got no guidelines; the
    next run asks again only for those that were never answered.

    guidealign library generate prompts.jsonl --base-url http://localhost:8000/v1 --model my-model --out raw

    guidealign library generate prompts.csv --field question --base-url https://... --model my-model --out raw
    --detector llama-guard --detector-model meta-llama/Llama-Guard-3-8B --detector-url http://localhost:8001/v1

    guidealign library merge raw/guidelines.jsonl --pairs raw/pairs.jsonl --out library.jsonl
    """
    for module, package in (("openai", "openai"), ("tenacity", "tenacity")):
        import_optional(module, package=package, extra="offline", purpose="asking a model")
    from guidealign_engine.offline.guidelines.detect import DetectorKind
    from guidealign_engine.offline.guidelines.generate_run import Asking, Reading, run

    kind = choose(DetectorKind, detector, "--detector")
    check_detector(detector, detector_model)

    writer, judge = endpoints(
        base_url,
        model,
        key_env=key_env,
        detector_model=detector_model,
        detector_url=detector_url,
        detector_key_env=detector_key_env,
        concurrency=concurrency,
        timeout_s=timeout_s,
        attempts=attempts,
    )
    asking = Asking(
        writer=writer,
        judge=judge,
        detector=kind,
        temperature=temperature,
        max_tokens=max_tokens,
        prices=(price_in, price_out),
    )
    shown = count()

    def on_skip(error: ArtifactError) -> None:
        if next(shown) < _SKIPS_SHOWN:
            typer.echo(f"skipped: {error}", err=True)

    reading = Reading(inputs, text_field=field, category_field=category_field, strict=strict, on_skip=on_skip)
    with show.progress() as report:
        outcome = run(reading, asking, out, report)
    _print_outcome(outcome, out, as_json=as_json)
    if outcome.tally.skipped or outcome.unread:
        raise typer.Exit(1)


def _print_outcome(outcome: Outcome, out: Path, *, as_json: bool) -> None:
    tally = outcome.tally
    if as_json:
        record = {**asdict(tally), "unread": outcome.unread, "left_out": outcome.left_out, **outcome.cost}
        typer.echo(json.dumps(record))
    else:
        again = f"; {tally.repeated} came again" if tally.repeated else ""
        typer.echo(
            f"{out}: {tally.guidelines} guidelines for {tally.inputs - tally.skipped} inputs, {tally.unsafe} of them "
            f"risky; {tally.skipped} skipped{again}; {spent(outcome.cost)}"
        )
    if outcome.left_out:
        typer.echo(f"an endpoint does not take {', '.join(outcome.left_out)}, and was asked without", err=True)
    if tally.skipped or outcome.unread:
        listed = f"; see {out / 'skipped.jsonl'}" if tally.skipped else ""
        typer.echo(
            f"{tally.skipped} inputs got no guidelines and {outcome.unread} records were unreadable{listed}", err=True
        )

"""`guidealign library expand`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
from guidealign_engine.commands.model_keys import KEY_VARIABLE
from guidealign_engine.commands.options import AsJson
from guidealign_engine.config import choose
from guidealign_engine.errors import ArtifactError
from guidealign_engine.optional_packages import import_optional

_NEEDED = {"openai": "openai", "tenacity": "tenacity", "rapidfuzz": "rapidfuzz", "sklearn": "scikit-learn"}
_SKIPS_SHOWN = 5
_ASKING = "Asking"
_ACTIVE = "Where it is thin"


def expand(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="SEEDS...", help="Inputs to start from: .txt, .jsonl, .csv or .parquet, or folders."),
    ],
    base_url: BaseUrl,
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="The model that writes inputs.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for new inputs, and for all answers.")],
    per_type: Annotated[
        int, typer.Option("--per-type", metavar="N", min=1, help="New inputs wanted of each risk type.")
    ] = 50,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Rounds of calls after which it ends.")] = 12,
    per_call: Annotated[int, typer.Option("--per-call", min=1, max=100, help="New inputs asked for in one call.")] = 10,
    max_rouge: Annotated[
        float,
        typer.Option("--max-rouge", metavar="X", help="ROUGE-L with one that is kept, above which one is dropped."),
    ] = 0.7,
    seed: Annotated[int, typer.Option("--seed", help="Decides all that is drawn.")] = 13,
    field: Annotated[
        str | None, typer.Option("--field", metavar="NAME", help="Field of the text; else input, prompt or text.")
    ] = None,
    category_field: Annotated[
        str, typer.Option("--category-field", metavar="NAME", help="Field of the risk type.")
    ] = "category",
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first record that cannot be read.")] = False,
    active: Annotated[
        bool,
        typer.Option("--active", help="Ask where inputs are few or the detector is unsure.", rich_help_panel=_ACTIVE),
    ] = False,
    clusters: Annotated[
        int | None,
        typer.Option(
            "--clusters",
            metavar="N",
            min=1,
            help="Clusters in each risk type; without it, the root of its mean size.",
            rich_help_panel=_ACTIVE,
        ),
    ] = None,
    vectors: Annotated[
        str, typer.Option("--vectors", metavar="student|teacher", help="Who embeds.", rich_help_panel=_ACTIVE)
    ] = "student",
    samples: Annotated[
        int,
        typer.Option(
            "--unsure-samples",
            metavar="N",
            min=0,
            help="Verdicts on one input, whose disagreement is the doubt; 0 asks no detector.",
            rich_help_panel=_ACTIVE,
        ),
    ] = 3,
    judged: Annotated[
        int, typer.Option("--judged", min=1, help="Inputs of each cluster that are judged.", rich_help_panel=_ACTIVE)
    ] = 4,
    detector: Detector = "self",
    detector_model: DetectorModel = None,
    detector_url: DetectorUrl = None,
    detector_key_env: DetectorKeyEnv = None,
    key_env: KeyEnv = KEY_VARIABLE,
    temperature: Temperature = 1.0,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=16, help="Longest answer.", rich_help_panel=_ASKING)
    ] = 2048,
    concurrency: Concurrency = 16,
    attempts: Attempts = 6,
    timeout_s: TimeoutS = 120.0,
    price_in: PriceIn = 0.0,
    price_out: PriceOut = 0.0,
    as_json: AsJson = False,
) -> None:
    """Have a model write more inputs like the ones that are there, by risk type.

    Each call shows the model seeds of one risk type, and inputs that it wrote before. What is too much like another
    is dropped.

    DIR gets inputs.jsonl, in the form that `generate` reads, and skipped.jsonl with the calls that brought nothing.

    Every answer is kept in DIR/answers.sqlite at once: a run that was stopped goes on, and asks for nothing twice.

    With --active the N inputs for each type go where there are fewest: to the thinnest type, and in it the thinnest
    cluster of like meaning, counted as thinner where the detector's verdicts disagree.

    How even inputs are over the clusters is shown before and after, with --active or without it.

    Ends with 1 when there are fewer new inputs than wanted, or when a record could not be read.

    guidealign library expand seeds.jsonl --base-url http://localhost:8000/v1 --model my-model --out more

    guidealign library expand seeds.jsonl --active --per-type 200 --base-url ... --model my-model --out more

    guidealign library generate seeds.jsonl more/inputs.jsonl --base-url ... --model my-model --out raw
    """
    for module, package in _NEEDED.items():
        import_optional(module, package=package, extra="offline", purpose="expanding inputs")
    from guidealign_engine.commands.library_expand_show import print_outcome
    from guidealign_engine.offline.guidelines.detect import DetectorKind
    from guidealign_engine.offline.guidelines.expand import ExpandConfig
    from guidealign_engine.offline.guidelines.expand_run import Asking, run
    from guidealign_engine.offline.guidelines.inputs import read_inputs

    kind = choose(DetectorKind, detector, "--detector")
    check_detector(detector, detector_model)
    config = ExpandConfig(
        per_type=per_type,
        rounds=rounds,
        per_call=per_call,
        max_rouge=max_rouge,
        active=active,
        clusters_per_type=clusters,
        judged=judged,
        seed=seed,
    )
    unread: list[ArtifactError] = []

    def on_skip(error: ArtifactError) -> None:
        unread.append(error)
        if len(unread) <= _SKIPS_SHOWN:
            typer.echo(f"skipped: {error}", err=True)

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
        samples=samples if active else 0,
        temperature=temperature,
        max_tokens=max_tokens,
        prices=(price_in, price_out),
    )
    read = read_inputs(inputs, strict=strict, on_skip=on_skip, text_field=field, category_field=category_field)
    with show.progress() as report:
        outcome = run(list(read), config, asking, vectors, out, report)
    print_outcome(outcome, len(unread), out, as_json=as_json)
    if unread or outcome.lacking:
        raise typer.Exit(1)

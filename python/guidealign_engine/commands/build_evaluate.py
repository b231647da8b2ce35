"""`guidealign build evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from guidealign_engine.commands import show
from guidealign_engine.commands.build_evaluate_show import print_evaluation
from guidealign_engine.commands.options import AsJson
from guidealign_engine.config import Kind
from guidealign_engine.errors import ConfigError
from guidealign_engine.guideline_files import read_guidelines
from guidealign_engine.loading import STARTER_BUNDLE
from guidealign_engine.optional_packages import import_optional
from guidealign_engine.pairs import read_pairs

_NEEDED = {"ir_measures": "ir-measures", "sklearn": "scikit-learn", "matplotlib": "matplotlib"}


def evaluate(
    pairs: Annotated[
        list[Path],
        typer.Option(
            "--pairs", metavar="FILE_OR_DIR", help="Inputs and their guidelines, with splits dev and test; repeatable."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for report.json and pictures.")],
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", "-b", metavar="DIR", help="Bundle to measure; without it, the starter bundle."),
    ] = None,
    guidelines: Annotated[
        list[Path] | None,
        typer.Option(
            "--guidelines",
            metavar="FILE_OR_DIR",
            help="Guidelines that pairs are for, where they are not the bundle's own; repeatable.",
        ),
    ] = None,
    judged: Annotated[
        list[str] | None,
        typer.Option(
            "--judged",
            metavar="NAME=L,Q,J|DIR",
            help="A judged set: library (id, title, text), queries (id, text) and judgements (query_id, guideline_id, "
            "relevance); or a folder of judgements/, guidelines/, prompts/ and retrieval/. Repeatable.",
        ),
    ] = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option(
            "--prompts",
            metavar="ROLE=FILE|DIR",
            help="Prompts (text) that are harmful, benign, look-alike, or a wrapper or passage to put around others; "
            "or a folder of public sets. Repeatable.",
        ),
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            "--encoder",
            metavar="NAME=DIR|ONNX",
            help="Another student beside the bundle's: its folder, or a graph for the bundle's tokenizer. Repeatable.",
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", metavar="DIR", help="Keep teacher vectors here; a killed or later run goes on."),
    ] = None,
    queries: Annotated[
        int | None,
        typer.Option("--queries", metavar="N", min=1, help="At most N queries of each judged set, drawn at random."),
    ] = None,
    decline_tag: Annotated[
        str, typer.Option("--decline-tag", metavar="TAG", help="Tag of guidelines that tell to decline.")
    ] = "decline",
    as_json: AsJson = False,
) -> None:
    """Measure retrieval like a search engine: BM25, sentence encoders, students and the engine side by side.

    Recall@6, nDCG@6, MRR@10 and hit@1 with 95 % intervals on own splits and judged sets; safety guidelines shown for
    harmful and harmless prompts; what text around a request costs; latency. Nothing is chosen by what is measured.

    guidealign build evaluate --pairs library/pairs --out report

    guidealign build evaluate --bundle mine --pairs pairs/ --judged faq=faq.jsonl,asked.jsonl,judged.jsonl
      --prompts harmful=red-team.jsonl --prompts benign=everyday.jsonl --out report
    """
    for module, package in _NEEDED.items():
        import_optional(module, package=package, extra="offline", purpose="evaluating a bundle")
    from guidealign_engine.offline.evaluation.judged_folder import read_judged
    from guidealign_engine.offline.evaluation.prompt_sets import read_prompt_sets
    from guidealign_engine.offline.evaluation.report import EvaluationMaterial
    from guidealign_engine.offline.evaluation.report import evaluate as measure
    from guidealign_engine.offline.evaluation.report_files import check_report_folder, write_report

    check_report_folder(out)
    with show.progress() as report:
        report("  reading")
        material = EvaluationMaterial(
            bundle=STARTER_BUNDLE if bundle is None else bundle,
            pairs=read_pairs(pairs),
            guidelines=read_guidelines(guidelines, default_kind=Kind.SAFETY) if guidelines else None,
            judged=[one.sampled(queries) for given in judged or [] for one in read_judged(given)],
            prompts=read_prompt_sets(prompts or []),
            encoders=_encoders(encoder or []),
            decline_tag=decline_tag,
        )
        record = measure(material, cache, report)
        files = write_report(record, out)
    if as_json:
        typer.echo(show.json_line(record), nl=False)
        return
    console = show.stdout()
    print_evaluation(console, record)
    console.print(f"\nwritten: {', '.join(map(str, files))}", soft_wrap=True)


def _encoders(given: Sequence[str]) -> dict[str, Path]:
    encoders: dict[str, Path] = {}
    for one in given:
        name, equals, path = one.partition("=")
        if not equals or not name or not path:
            raise ConfigError(f"--encoder is {one!r}; give NAME=FOLDER or NAME=FILE.onnx")
        if name in encoders:
            raise ConfigError(f"--encoder gives {name!r} twice; give each another name")
        encoders[name] = Path(path)
    return encoders

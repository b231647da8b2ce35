"""`guidealign build export`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from guidealign_engine.commands import show
from guidealign_engine.commands.options import AsJson
from guidealign_engine.commands.training_options import GraphPrecision
from guidealign_engine.config import Kind
from guidealign_engine.errors import MissingDependencyError
from guidealign_engine.guideline_files import read_guidelines
from guidealign_engine.loading import STARTER_BUNDLE

_NEEDED = {
    "torch": "torch",
    "sentence_transformers": "sentence-transformers",
    "onnx": "onnx",
    "optimum.exporters.onnx": "optimum-onnx",
}


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A sentence-transformers model's path or name, or a folder of build teacher."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the encoder's files.")],
    precision: Annotated[
        GraphPrecision,
        typer.Option("--precision", help="float16 halves the file; int8 quarters it, and is about twice as fast."),
    ] = GraphPrecision.FLOAT32,
    dimension: Annotated[
        int | None,
        typer.Option(
            "--dimension", min=8, metavar="D", help="Reduce vectors to so many principal directions of the texts."
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", min=3, help="Tokens of a text that are read; the model's own without it."),
    ] = None,
    texts: Annotated[
        list[Path] | None,
        typer.Option(
            "--texts",
            metavar="PATH",
            help="Texts that the graph is checked with, JSON lines or folders; the starter library's without it.",
        ),
    ] = None,
    guidelines: Annotated[
        list[Path] | None,
        typer.Option(
            "--guidelines", metavar="FILE_OR_DIR", help="A library over which the loss of top 6 guidelines is counted."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Export a sentence encoder to ONNX, from token ids to unit vectors in one graph, checked against PyTorch.

    guidealign build export all-MiniLM-L6-v2 --precision int8 --out minilm

    guidealign bundle build --encoder minilm --guidelines policy.jsonl --out policy-bundle
    """
    _check_packages()
    records = read_guidelines(guidelines, default_kind=Kind.SAFETY) if guidelines else []

    from guidealign_engine.offline.export.export_encoder import export_encoder
    from guidealign_engine.offline.export.parity import PARITY_TEXTS
    from guidealign_engine.offline.export.precision import Precision
    from guidealign_engine.offline.export.sentence_model import SentenceModel
    from guidealign_engine.offline.retriever.student_files import StudentFiles
    from guidealign_engine.offline.retriever.texts import read_texts, sample_texts

    files = StudentFiles(out)
    files.check_free()
    pool = read_texts(texts) if texts else (text for record in _starter() for text in record.examples)
    with show.progress() as report:
        record = export_encoder(
            SentenceModel.open(model, max_tokens=max_tokens),
            files,
            precision=Precision(precision),
            dimension=dimension,
            texts=sample_texts(pool, PARITY_TEXTS, seed=0),
            records=records,
            report=report,
        )
    if as_json:
        sys.stdout.write(show.json_line(record))
        return
    show.stdout().print(show.table(_rows(record)))
    typer.echo(f"{out}: an encoder for guidealign bundle build --encoder {out}")


def _starter() -> Any:
    return read_guidelines([STARTER_BUNDLE / "guidelines.jsonl"])


def _rows(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("encoder", str(record["encoder"])),
        ("dimension", str(record["dimension"])),
        ("tokens read", str(record["max_tokens"])),
        ("size", f"{record['bytes'] / 1e6:.1f} MB"),
    ]
    for name, label in (("parity", "float32 against PyTorch"), ("loss", f"{record['precision']} against PyTorch")):
        found = record[name]
        if found is not None:
            overlap = found["top6_overlap"]
            kept = "" if overlap is None else f", {overlap:.1%} of the top 6 guidelines the same"
            rows.append((label, f"cosine {found['mean_cosine']:.5f}, lowest {found['lowest_cosine']:.5f}{kept}"))
    return rows


def _check_packages() -> None:
    for module, package in _NEEDED.items():
        top = module.split(".")[0]
        if find_spec(top) is None or (top != module and find_spec(module) is None):
            raise MissingDependencyError(f"exporting an encoder needs {module}", package=package, extra="offline")

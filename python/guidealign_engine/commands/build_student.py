"""`guidealign build student`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from guidealign_engine.commands import show
from guidealign_engine.commands.training_options import (
    EXPORTER,
    Bigrams,
    Device,
    GraphPrecision,
    Pairs,
    Passages,
    Seed,
    Texts,
    check_packages,
)
from guidealign_engine.config import Kind
from guidealign_engine.encoder_files import STUDENT_RECORD
from guidealign_engine.errors import ConfigError
from guidealign_engine.guideline_files import read_guidelines
from guidealign_engine.pairs import read_pairs


class StudentKind(StrEnum):
    STATIC = "static"
    TRANSFORMER = "transformer"


def student(
    texts: Texts,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the student's files.")],
    cache: Annotated[
        Path, typer.Option("--cache", metavar="DIR", help="Folder for teacher vectors; a killed run goes on from it.")
    ],
    guidelines: Annotated[
        list[Path] | None,
        typer.Option("--guidelines", metavar="FILE_OR_DIR", help="Guidelines to train on too; may be repeated."),
    ] = None,
    pairs: Pairs = None,
    passages: Passages = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Texts that are drawn.")] = 60_000,
    teacher: Annotated[
        str,
        typer.Option(
            "--teacher",
            metavar="NAME",
            help="A folder of build teacher, or a sentence-transformers model's path or name.",
        ),
    ] = "all-MiniLM-L6-v2",
    kind: Annotated[
        StudentKind,
        typer.Option(
            "--kind",
            help="A sum of vectors of tokens and bigrams, the fastest; or a thin transformer.",
        ),
    ] = StudentKind.STATIC,
    layers: Annotated[int, typer.Option("--layers", min=1, help="Layers of a transformer.")] = 2,
    width: Annotated[int, typer.Option("--width", min=32, help="Width of a transformer, a multiple of 32.")] = 192,
    precision: Annotated[
        GraphPrecision,
        typer.Option("--precision", help="Of a transformer's files: int8 for a CPU, float16 for a GPU."),
    ] = GraphPrecision.INT8,
    dimension: Annotated[int, typer.Option("--dimension", min=8, help="Dimension of the vectors.")] = 256,
    vocabulary: Annotated[int, typer.Option("--vocabulary", min=100, help="Tokens of the student.")] = 30_000,
    bigrams: Bigrams = 25_000,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", min=1, help="Passes over the texts; 8 without it, 4 of a transformer."),
    ] = None,
    seed: Seed = 13,
    device: Device = "auto",
) -> None:
    """Distil a fast student encoder from a teacher, and export it to ONNX. Started again after a kill, it goes on.

    guidealign build student --texts texts/ --cache teacher-vectors --out student

    guidealign build student --kind transformer --layers 2 --width 192 --texts texts/ --cache teacher-vectors --out thin

    guidealign build student --kind transformer --layers 4 --width 384 --precision float16 --texts texts/
      --cache teacher-vectors --out for-gpus

    guidealign bundle build --encoder student --guidelines policy.jsonl --out policy-bundle
    """
    check_packages("training a student", EXPORTER if kind is StudentKind.TRANSFORMER else None)
    if (out / STUDENT_RECORD).exists():
        raise ConfigError(f"{out} holds a student already; give another folder")
    # Any kind will do: only the texts are read.
    records = read_guidelines(guidelines, default_kind=Kind.SAFETY) if guidelines else []

    from guidealign_engine.offline.export.precision import Precision
    from guidealign_engine.offline.retriever.build_student import StudentConfig
    from guidealign_engine.offline.retriever.encoder_runs import run_student
    from guidealign_engine.offline.retriever.static_student import DistilConfig
    from guidealign_engine.offline.retriever.texts import read_texts
    from guidealign_engine.offline.retriever.training_device import choose_device
    from guidealign_engine.offline.retriever.transformer_config import TransformerConfig

    trained_on = choose_device(device)
    thin = TransformerConfig(
        layers=layers,
        width=width,
        precision=Precision(precision),
        epochs=epochs or TransformerConfig().epochs,
        seed=seed,
    ).on(gpu=trained_on.type == "cuda")
    config = StudentConfig(
        teacher=teacher,
        dimension=dimension,
        vocabulary=vocabulary,
        bigrams=bigrams,
        distil=DistilConfig(epochs=epochs or DistilConfig().epochs, seed=seed),
        transformer=thin if kind is StudentKind.TRANSFORMER else None,
    )
    with show.progress() as report:
        run_student(
            records,
            read_pairs(pairs or []),
            read_texts(texts),
            read_texts(passages or []),
            limit=limit,
            out=out,
            cache=cache,
            config=config,
            report=report,
            device=trained_on,
        )
    typer.echo(f"{out}: a student for guidealign bundle build --encoder {out}")

"""`guidealign build student`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from guidealign_engine.commands import show
from guidealign_engine.config import Kind
from guidealign_engine.encoder_files import STUDENT_RECORD
from guidealign_engine.errors import ConfigError, MissingDependencyError
from guidealign_engine.guideline_files import read_guidelines

build_app = typer.Typer(no_args_is_help=True, help="Train encoders; needs the offline extra.")

_NEEDED = {"torch": "torch", "sentence_transformers": "sentence-transformers", "onnx": "onnx"}
_HELD_OUT_SHARE = 10


@build_app.callback()
def _group() -> None:
    """Train encoders; needs the offline extra."""


@build_app.command()
def student(
    texts: Annotated[
        list[Path],
        typer.Option("--texts", metavar="PATH", help="JSON lines with a text field, or folders; may be repeated."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the student's files.")],
    cache: Annotated[
        Path, typer.Option("--cache", metavar="DIR", help="Folder for teacher vectors; a killed run goes on from it.")
    ],
    guidelines: Annotated[
        list[Path] | None,
        typer.Option("--guidelines", metavar="FILE_OR_DIR", help="Guidelines to train on too; may be repeated."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Texts that are drawn.")] = 60_000,
    teacher: Annotated[
        str, typer.Option("--teacher", metavar="NAME", help="A sentence-transformers model: path or name.")
    ] = "all-MiniLM-L6-v2",
    dimension: Annotated[int, typer.Option("--dimension", min=8, help="Dimension of the vectors.")] = 256,
    vocabulary: Annotated[int, typer.Option("--vocabulary", min=100, help="Tokens of the student.")] = 30_000,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the texts.")] = 12,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides all that is random in training.")] = 13,
) -> None:
    """Distil a fast student encoder from a teacher, and export it to ONNX.

    guidealign build student --texts texts/ --cache teacher-vectors --out student

    guidealign bundle build --encoder student --guidelines policy.jsonl --out policy-bundle
    """
    for module, package in _NEEDED.items():
        if find_spec(module) is None:
            raise MissingDependencyError(f"training a student needs {module}", package=package, extra="offline")
    if (out / STUDENT_RECORD).exists():
        raise ConfigError(f"{out} holds a student already; give another folder")
    # Any kind will do: only the texts are read.
    records = read_guidelines(guidelines, default_kind=Kind.SAFETY) if guidelines else []

    from guidealign_engine.offline.retriever.build_student import StudentConfig, build_student
    from guidealign_engine.offline.retriever.static_student import DistilConfig
    from guidealign_engine.offline.retriever.student_files import StudentFiles
    from guidealign_engine.offline.retriever.texts import read_texts, sample_texts

    pool = list(read_texts(texts))
    drawn = sample_texts(pool, limit, seed=0)
    drawn += [text for record in records for text in (record.entry, *record.examples)]
    # A tenth of few texts is enough to see which epoch was best.
    held_out = min(DistilConfig().held_out, max(1, len(drawn) // _HELD_OUT_SHARE))
    config = StudentConfig(
        teacher=teacher,
        dimension=dimension,
        vocabulary=vocabulary,
        distil=DistilConfig(epochs=epochs, seed=seed, held_out=held_out),
    )
    with show.progress() as report:
        build_student(drawn, pool, StudentFiles(out), cache, config, report)
    typer.echo(f"{out}: a student for guidealign bundle build --encoder {out}")

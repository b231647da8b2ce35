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
from guidealign_engine.pairs import read_pairs

build_app = typer.Typer(no_args_is_help=True, help="Train encoders; needs the offline extra.")

_NEEDED = {"torch": "torch", "sentence_transformers": "sentence-transformers", "onnx": "onnx"}
_HELD_OUT_SHARE = 10


@build_app.callback()
def _group() -> None:
    """Train encoders; needs the offline extra."""


Texts = Annotated[
    list[Path],
    typer.Option("--texts", metavar="PATH", help="JSON lines with a text field, or folders; may be repeated."),
]
Cache = Annotated[
    Path, typer.Option("--cache", metavar="DIR", help="Folder for teacher vectors; a killed run goes on from it.")
]
Guidelines = Annotated[
    list[Path] | None,
    typer.Option("--guidelines", metavar="FILE_OR_DIR", help="Guidelines to train on too; may be repeated."),
]
Pairs = Annotated[
    list[Path] | None,
    typer.Option("--pairs", metavar="FILE_OR_DIR", help="Pairs whose train split is trained on; may be repeated."),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Decides all that is random in training.")]


@build_app.command()
def teacher(
    guidelines: Annotated[
        list[Path],
        typer.Option("--guidelines", metavar="FILE_OR_DIR", help="Guidelines with their examples; may be repeated."),
    ],
    texts: Texts,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the tuned teacher; also of a checkpoint.")
    ],
    pairs: Pairs = None,
    harmless: Annotated[
        list[Path] | None,
        typer.Option("--harmless", metavar="PATH", help="Texts that need no safety guideline; may be repeated."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Texts, and harmless texts, that are drawn.")] = 40_000,
    base: Annotated[
        str, typer.Option("--base", metavar="NAME", help="A sentence-transformers model: path or name.")
    ] = "all-MiniLM-L6-v2",
    rank: Annotated[
        int, typer.Option("--rank", min=1, help="How many directions of each matrix's change are kept.")
    ] = 64,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the inputs.")] = 3,
    batch_size: Annotated[int, typer.Option("--batch-size", min=2, help="Inputs a step.")] = 64,
    seed: Seed = 13,
) -> None:
    """Fine-tune a sentence encoder on inputs and their guidelines. Started again after a kill, it goes on.

    guidealign build teacher --guidelines library/ --pairs pairs/ --texts texts/ --out teacher

    guidealign build student --teacher teacher --texts texts/ --cache vectors --out student
    """
    _check_packages("training a teacher")
    # Without a default: which inputs need a safety guideline is part of what is learned.
    records = read_guidelines(guidelines)
    labelled = read_pairs(pairs or [])

    from guidealign_engine.offline.retriever.build_teacher import BuildTeacherConfig, build_teacher
    from guidealign_engine.offline.retriever.material import teacher_material
    from guidealign_engine.offline.retriever.texts import read_texts, sample_texts
    from guidealign_engine.offline.retriever.train_teacher import TeacherConfig

    material = teacher_material(
        records,
        labelled,
        sample_texts(read_texts(texts), limit, seed=0),
        sample_texts(read_texts(harmless or []), limit, seed=1),
    )
    config = BuildTeacherConfig(
        base=base, rank=rank, training=TeacherConfig(epochs=epochs, batch_size=batch_size, seed=seed)
    )
    with show.progress() as report:
        build_teacher(material, out, config, report)
    typer.echo(f"{out}: a teacher for guidealign build student --teacher {out}")


@build_app.command()
def student(
    texts: Texts,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the student's files.")],
    cache: Cache,
    guidelines: Guidelines = None,
    pairs: Pairs = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Texts that are drawn.")] = 60_000,
    teacher: Annotated[
        str,
        typer.Option(
            "--teacher",
            metavar="NAME",
            help="A folder of build teacher, or a sentence-transformers model's path or name.",
        ),
    ] = "all-MiniLM-L6-v2",
    dimension: Annotated[int, typer.Option("--dimension", min=8, help="Dimension of the vectors.")] = 256,
    vocabulary: Annotated[int, typer.Option("--vocabulary", min=100, help="Tokens of the student.")] = 30_000,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the texts.")] = 12,
    seed: Seed = 13,
) -> None:
    """Distil a fast student encoder from a teacher, and export it to ONNX.

    guidealign build student --texts texts/ --cache teacher-vectors --out student

    guidealign bundle build --encoder student --guidelines policy.jsonl --out policy-bundle
    """
    _check_packages("training a student")
    if (out / STUDENT_RECORD).exists():
        raise ConfigError(f"{out} holds a student already; give another folder")
    # Any kind will do: only the texts are read.
    records = read_guidelines(guidelines, default_kind=Kind.SAFETY) if guidelines else []

    from guidealign_engine.offline.retriever.build_student import StudentConfig, StudentMaterial, build_student
    from guidealign_engine.offline.retriever.material import training_pairs
    from guidealign_engine.offline.retriever.static_student import DistilConfig
    from guidealign_engine.offline.retriever.student_files import StudentFiles
    from guidealign_engine.offline.retriever.texts import read_texts, sample_texts

    pool = list(read_texts(texts))
    drawn = sample_texts(pool, limit, seed=0)
    inputs, harmless = training_pairs(records, read_pairs(pairs or []))
    material = StudentMaterial([*drawn, *harmless], records, inputs)
    # A tenth of few texts is enough to see which epoch was best.
    held_out = min(DistilConfig().held_out, max(1, len(material.texts) // _HELD_OUT_SHARE))
    config = StudentConfig(
        teacher=teacher,
        dimension=dimension,
        vocabulary=vocabulary,
        distil=DistilConfig(epochs=epochs, seed=seed, held_out=held_out),
    )
    with show.progress() as report:
        build_student(material, pool, StudentFiles(out), cache, config, report)
    typer.echo(f"{out}: a student for guidealign bundle build --encoder {out}")


def _check_packages(purpose: str) -> None:
    for module, package in _NEEDED.items():
        if find_spec(module) is None:
            raise MissingDependencyError(f"{purpose} needs {module}", package=package, extra="offline")

"""`guidealign build teacher`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from guidealign_engine.commands import show
from guidealign_engine.commands.training_options import Device, Harmless, Pairs, Seed, Texts, check_packages
from guidealign_engine.config import choose
from guidealign_engine.guideline_files import read_guidelines
from guidealign_engine.pairs import read_pairs


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
    harmless: Harmless = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Texts, and harmless texts, that are drawn.")] = 40_000,
    base: Annotated[
        str, typer.Option("--base", metavar="NAME", help="A sentence-transformers model: path or name.")
    ] = "all-MiniLM-L6-v2",
    rank: Annotated[
        int, typer.Option("--rank", min=1, help="How many directions of each matrix's change are kept.")
    ] = 64,
    loss: Annotated[
        str,
        typer.Option(
            "--loss",
            metavar="library|hard|in-batch|margin",
            help="Negatives: every guideline, those ranked highest, those of the batch; or those within a margin.",
        ),
    ] = "library",
    hard_negatives: Annotated[
        int, typer.Option("--hard-negatives", min=1, help="Negatives an input, of --loss hard and margin.")
    ] = 32,
    prototype_weight: Annotated[
        float,
        typer.Option(
            "--prototype-weight",
            min=0.0,
            help="Weight of a second loss of the same kind, in which a guideline is what a bundle holds of it: its "
            "text folded with its inputs, but for the one that is looked for. 0 trains on the texts alone.",
        ),
    ] = 1.0,
    dimensions: Annotated[
        list[int] | None,
        typer.Option("--dimension", min=8, help="A shorter one to train for as well (Matryoshka); may be repeated."),
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the inputs.")] = 3,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", min=2, help="Inputs a step; without it 64, and 128 at a higher rate on a GPU."),
    ] = None,
    seed: Seed = 13,
    device: Device = "auto",
) -> None:
    """Fine-tune a sentence encoder on inputs and their guidelines. Started again after a kill, it goes on.

    An input is pulled to the text of its guideline and to the guideline's prototype (--prototype-weight), and pushed
    from others (--loss); unlabelled texts are held where the untrained encoder puts them.

    guidealign build teacher --guidelines library/ --pairs pairs/ --texts texts/ --out teacher

    guidealign build student --teacher teacher --texts texts/ --cache vectors --out student
    """
    check_packages("training a teacher")
    # Without a default: which inputs need a safety guideline is part of what is learned.
    records = read_guidelines(guidelines)
    labelled = read_pairs(pairs or [])

    from guidealign_engine.offline.retriever.build_teacher import BuildTeacherConfig
    from guidealign_engine.offline.retriever.contrast import Contrast, Loss
    from guidealign_engine.offline.retriever.encoder_runs import run_teacher
    from guidealign_engine.offline.retriever.teacher_config import TeacherConfig
    from guidealign_engine.offline.retriever.texts import read_texts
    from guidealign_engine.offline.retriever.training_device import choose_device

    trained_on = choose_device(device)
    training = TeacherConfig(
        epochs=epochs,
        prototype_weight=prototype_weight,
        contrast=Contrast(loss=choose(Loss, loss, "--loss"), hard_negatives=hard_negatives),
        dimensions=tuple(dimensions or ()),
        seed=seed,
    ).with_batches(batch_size, gpu=trained_on.type == "cuda")
    with show.progress() as report:
        run_teacher(
            records,
            labelled,
            read_texts(texts),
            read_texts(harmless or []),
            limit=limit,
            out=out,
            config=BuildTeacherConfig(base=base, rank=rank, training=training),
            report=report,
            device=trained_on,
        )
    typer.echo(f"{out}: a teacher for guidealign build student --teacher {out}")

"""`guidealign build all`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from guidealign_engine.calibration import FALSE_ALARMS
from guidealign_engine.commands import show
from guidealign_engine.commands.build_student import StudentKind
from guidealign_engine.commands.library_tables import grid, heading
from guidealign_engine.commands.options import AsJson
from guidealign_engine.commands.training_options import EXPORTER, Device, Harmless, Passages, Texts, check_packages
from guidealign_engine.config import choose
from guidealign_engine.index_tuning import RECALL_TARGET

if TYPE_CHECKING:
    from guidealign_engine.offline.retriever.steps import Step

_TRAINING = "Training"
_BUNDLE = "Bundle"
_GPU = "For GPUs"


def all_steps(
    guidelines: Annotated[
        list[Path],
        typer.Option("--guidelines", metavar="FILE_OR_DIR", help="Guidelines with their examples; may be repeated."),
    ],
    pairs: Annotated[
        list[Path],
        typer.Option(
            "--pairs",
            metavar="FILE_OR_DIR",
            help="Pairs: train is trained on, dev tunes and calibrates, test is left alone; may be repeated.",
        ),
    ],
    texts: Texts,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for bundle/, work/ and run.json; a run goes on in it.")
    ],
    harmless: Harmless = None,
    passages: Passages = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Texts, and harmless texts, that are drawn.")] = 50_000,
    teacher: Annotated[
        str,
        typer.Option(
            "--teacher",
            metavar="NAME|train",
            help="A folder of build teacher or a sentence-transformers model; train tunes one.",
            rich_help_panel=_TRAINING,
        ),
    ] = "train",
    base: Annotated[
        str,
        typer.Option("--base", metavar="NAME", help="What a teacher is tuned from.", rich_help_panel=_TRAINING),
    ] = "all-MiniLM-L6-v2",
    rank: Annotated[
        int,
        typer.Option(
            "--rank", min=1, help="Directions of each matrix's change that are kept.", rich_help_panel=_TRAINING
        ),
    ] = 64,
    teacher_epochs: Annotated[
        int, typer.Option("--teacher-epochs", min=1, help="Passes over the inputs.", rich_help_panel=_TRAINING)
    ] = 3,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            min=2,
            help="Inputs a step of the teacher; without it 64, and 128 at a higher rate on a GPU.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    dimension: Annotated[
        int, typer.Option("--dimension", min=8, help="Dimension of the vectors.", rich_help_panel=_TRAINING)
    ] = 256,
    vocabulary: Annotated[
        int, typer.Option("--vocabulary", min=100, help="Tokens of the student.", rich_help_panel=_TRAINING)
    ] = 30_000,
    bigrams: Annotated[
        int,
        typer.Option(
            "--bigrams",
            min=0,
            help="Pairs of tokens, at most, that a static student learns a vector for.",
            rich_help_panel=_TRAINING,
        ),
    ] = 25_000,
    student: Annotated[
        StudentKind,
        typer.Option(
            "--student",
            help="A sum of token vectors, or a thin transformer, which is slower.",
            rich_help_panel=_TRAINING,
        ),
    ] = StudentKind.STATIC,
    student_epochs: Annotated[
        int | None,
        typer.Option(
            "--student-epochs",
            min=1,
            help="Passes over the texts; 8 without it, 4 of a transformer.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Decides all that is random.", rich_help_panel=_TRAINING)
    ] = 13,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="Name of the bundle; without it, the folder's.", rich_help_panel=_BUNDLE
        ),
    ] = None,
    store: Annotated[
        str,
        typer.Option(
            "--store", metavar="float16|int8", help="How vectors for exact scores are kept.", rich_help_panel=_BUNDLE
        ),
    ] = "int8",
    index: Annotated[
        str | None,
        typer.Option(
            "--index",
            metavar="flat|pq|ivf_pq|ivf_pq4|hnsw",
            help="Kind of index; without it, chosen by size.",
            rich_help_panel=_BUNDLE,
        ),
    ] = None,
    recall: Annotated[
        float,
        typer.Option(
            "--recall", min=0.0, max=1.0, help="What the index must find, as in build index.", rich_help_panel=_BUNDLE
        ),
    ] = RECALL_TARGET,
    false_alarms: Annotated[
        float,
        typer.Option(
            "--false-alarms",
            min=0.0,
            max=1.0,
            help="Share of inputs without a safety guideline that may be shown one.",
            rich_help_panel=_BUNDLE,
        ),
    ] = FALSE_ALARMS,
    gpu_student: Annotated[
        str | None,
        typer.Option(
            "--gpu-student",
            metavar="teacher|transformer",
            help="Make gpu-bundle/ too, whose queries are read in float16 by the teacher itself, or by a transformer "
            "that is distilled from it.",
            rich_help_panel=_GPU,
        ),
    ] = None,
    gpu_layers: Annotated[
        int, typer.Option("--gpu-layers", min=1, help="Layers of that transformer.", rich_help_panel=_GPU)
    ] = 4,
    gpu_width: Annotated[
        int,
        typer.Option("--gpu-width", min=32, help="Width of that transformer, a multiple of 32.", rich_help_panel=_GPU),
    ] = 384,
    device: Device = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check everything, print the plan, stop.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a verified bundle of guidelines and pairs: teacher, student, bundle, thresholds, checks, figures.

    Started again after a kill, it goes on where it was. A step whose inputs or options changed runs anew, and all
    after it.

    guidealign build all --guidelines library/ --pairs pairs/ --texts texts/ --out built --dry-run

    guidealign build all --guidelines library/ --pairs pairs/ --texts texts/ --teacher all-MiniLM-L6-v2 --out built

    guidealign build all --guidelines library/ --pairs pairs/ --texts texts/ --gpu-student teacher --device cuda
      --out built
    """
    check_packages("building", EXPORTER if student is StudentKind.TRANSFORMER or gpu_student else None)
    from guidealign_engine.offline.retriever.all_material import read_all_material
    from guidealign_engine.offline.retriever.all_steps import plan_all
    from guidealign_engine.offline.retriever.build_all import build_all, check_all, work_folder
    from guidealign_engine.offline.retriever.build_all_config import BuildAllConfig, GpuStudent, gpu_transformer
    from guidealign_engine.offline.retriever.build_student import StudentConfig
    from guidealign_engine.offline.retriever.build_teacher import BuildTeacherConfig
    from guidealign_engine.offline.retriever.static_student import DistilConfig
    from guidealign_engine.offline.retriever.teacher_config import TeacherConfig
    from guidealign_engine.offline.retriever.training_device import choose_device
    from guidealign_engine.offline.retriever.transformer_config import TransformerConfig

    for_gpu = None if gpu_student is None else choose(GpuStudent, gpu_student, "--gpu-student")
    on_gpu = choose_device(device).type == "cuda"
    thin, wide = (
        replace(each, epochs=student_epochs or each.epochs, seed=seed).on(gpu=on_gpu)
        for each in (TransformerConfig(), gpu_transformer(layers=gpu_layers, width=gpu_width))
    )
    training = TeacherConfig(epochs=teacher_epochs, seed=seed).with_batches(batch_size, gpu=on_gpu)
    config = BuildAllConfig(
        name=name or out.resolve().name,
        teacher=teacher,
        limit=limit,
        store=store,
        index=index,
        recall=recall,
        false_alarms=false_alarms,
        device=device,
        training=BuildTeacherConfig(base=base, rank=rank, training=training),
        student=StudentConfig(
            dimension=dimension,
            vocabulary=vocabulary,
            bigrams=bigrams,
            distil=DistilConfig(epochs=student_epochs or DistilConfig().epochs, seed=seed),
            transformer=thin if student is StudentKind.TRANSFORMER else None,
        ),
        gpu_student=for_gpu,
        gpu_transformer=wide if for_gpu is GpuStudent.TRANSFORMER else None,
    )
    with show.progress() as report:
        report("  reading")
        material = read_all_material(guidelines, pairs, texts, harmless or [], passages or [])
        if not dry_run:
            run = build_all(material, out, config, report)
    if dry_run:
        check_all(material, out, config)
        _print_plan(work_folder(out), plan_all(material, work_folder(out), config), device, as_json=as_json)
    elif as_json:
        typer.echo(show.json_line(run), nl=False)
    else:
        _print_run(run, out)


def _print_plan(work: Path, steps: Sequence[Step], asked: str, *, as_json: bool) -> None:
    from guidealign_engine.offline.retriever.step_standings import explained, standings_of
    from guidealign_engine.offline.retriever.training_device import choose_device, described

    device = described(choose_device(asked))
    plan = [
        {"step": step.name, "state": str(standing.state), "changed": list(standing.changed), "inputs": step.inputs}
        | {"what": explained(step, standing)}
        for step, standing in zip(steps, standings_of(work, steps), strict=True)
    ]
    if as_json:
        typer.echo(show.json_line({"device": device, "steps": plan}), nl=False)
        return
    console = show.stdout()
    console.print(f"device {device}")
    console.print(grid(("step", "what happens"), [(str(each["step"]), str(each["what"])) for each in plan], left=2))


def _print_run(run: Mapping[str, Any], out: Path) -> None:
    console = show.stdout()
    rows = [(name, f"{step['seconds']:,.0f}", "kept" if step["kept"] else "run") for name, step in run["steps"].items()]
    console.print(grid(("step", "seconds", ""), rows))
    for prefix in ("", "gpu-"):
        if f"{prefix}quality" not in run["steps"]:
            continue
        bundle = out / f"{prefix}bundle"
        quality, calibrated = (run["steps"][f"{prefix}{name}"]["result"] for name in ("quality", "calibrate"))
        heading(console, f"{bundle.name} on the dev split")
        figures = {
            **quality,
            "AUC of risk": calibrated["all"]["auc"],
            "false alarms": calibrated["all"]["false_alarms"],
        }
        console.print(show.table([(key, f"{value:,}") for key, value in figures.items() if value is not None]))
        console.print(f"{bundle}: verified, device {run['machine']['device']}")

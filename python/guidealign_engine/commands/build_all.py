"""`guidealign build all`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from guidealign_engine.calibration import FALSE_ALARMS
from guidealign_engine.commands import show
from guidealign_engine.commands.build_student import StudentKind
from guidealign_engine.commands.library_tables import grid, heading
from guidealign_engine.commands.options import AsJson
from guidealign_engine.commands.training_options import EXPORTER, Harmless, Texts, check_packages
from guidealign_engine.index_tuning import RECALL_TARGET

if TYPE_CHECKING:
    from guidealign_engine.offline.retriever.step_folders import Step

_TRAINING = "Training"
_BUNDLE = "Bundle"


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
        int, typer.Option("--batch-size", min=2, help="Inputs a step of the teacher.", rich_help_panel=_TRAINING)
    ] = 64,
    dimension: Annotated[
        int, typer.Option("--dimension", min=8, help="Dimension of the vectors.", rich_help_panel=_TRAINING)
    ] = 256,
    vocabulary: Annotated[
        int, typer.Option("--vocabulary", min=100, help="Tokens of the student.", rich_help_panel=_TRAINING)
    ] = 30_000,
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
            help="Passes over the texts; 12 without it, 4 of a transformer.",
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
            metavar="flat|pq|ivf_pq|hnsw",
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
    """
    check_packages("building", EXPORTER if student is StudentKind.TRANSFORMER else None)
    from guidealign_engine.offline.retriever.all_material import read_all_material
    from guidealign_engine.offline.retriever.all_steps import plan_all
    from guidealign_engine.offline.retriever.build_all import build_all, check_all, work_folder
    from guidealign_engine.offline.retriever.build_all_config import BuildAllConfig
    from guidealign_engine.offline.retriever.build_student import StudentConfig
    from guidealign_engine.offline.retriever.build_teacher import BuildTeacherConfig
    from guidealign_engine.offline.retriever.static_student import DistilConfig
    from guidealign_engine.offline.retriever.train_teacher import TeacherConfig
    from guidealign_engine.offline.retriever.transformer_student import TransformerConfig

    thin = TransformerConfig(epochs=student_epochs or TransformerConfig().epochs, seed=seed)
    training = TeacherConfig(epochs=teacher_epochs, batch_size=batch_size, seed=seed)
    config = BuildAllConfig(
        name=name or out.resolve().name,
        teacher=teacher,
        limit=limit,
        store=store,
        index=index,
        recall=recall,
        false_alarms=false_alarms,
        training=BuildTeacherConfig(base=base, rank=rank, training=training),
        student=StudentConfig(
            dimension=dimension,
            vocabulary=vocabulary,
            distil=DistilConfig(epochs=student_epochs or DistilConfig().epochs, seed=seed),
            transformer=thin if student is StudentKind.TRANSFORMER else None,
        ),
    )
    with show.progress() as report:
        report("  reading")
        material = read_all_material(guidelines, pairs, texts, harmless or [])
        if not dry_run:
            run = build_all(material, out, config, report)
    if dry_run:
        check_all(material, out, config)
        _print_plan(work_folder(out), plan_all(material, work_folder(out), config), as_json=as_json)
    elif as_json:
        typer.echo(show.json_line(run), nl=False)
    else:
        _print_run(run, out)


def _print_plan(work: Path, steps: Sequence[Step], *, as_json: bool) -> None:
    from guidealign_engine.offline.retriever.run_record import device
    from guidealign_engine.offline.retriever.step_folders import explained, standings_of

    plan = [
        {"step": step.name, "state": str(standing.state), "changed": list(standing.changed), "inputs": step.inputs}
        | {"what": explained(step, standing)}
        for step, standing in zip(steps, standings_of(work, steps), strict=True)
    ]
    if as_json:
        typer.echo(show.json_line({"device": device(), "steps": plan}), nl=False)
        return
    console = show.stdout()
    console.print(f"device {device()}")
    console.print(grid(("step", "what happens"), [(str(each["step"]), str(each["what"])) for each in plan], left=2))


def _print_run(run: Mapping[str, Any], out: Path) -> None:
    console = show.stdout()
    rows = [(name, f"{step['seconds']:,.0f}", "kept" if step["kept"] else "run") for name, step in run["steps"].items()]
    console.print(grid(("step", "seconds", ""), rows))
    quality, calibrated = run["steps"]["quality"]["result"], run["steps"]["calibrate"]["result"]["all"]
    heading(console, "on the dev split")
    figures = {**quality, "AUC of risk": calibrated["auc"], "false alarms": calibrated["false_alarms"]}
    console.print(show.table([(key, f"{value:,}") for key, value in figures.items() if value is not None]))
    console.print(f"{out / 'bundle'}: verified, device {run['machine']['device']}")

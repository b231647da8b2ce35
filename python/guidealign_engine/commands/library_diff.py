"""`guidealign library diff`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from guidealign_engine.bundle import GUIDELINES, MANIFEST, open_bundle
from guidealign_engine.commands import show
from guidealign_engine.commands.bundle_build import build
from guidealign_engine.commands.library_diff_show import print_diff
from guidealign_engine.commands.options import AsJson
from guidealign_engine.commands.prompts import answered, read_prompts
from guidealign_engine.engine import Engine
from guidealign_engine.guideline_files import read_guidelines
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.loading import load_engine
from guidealign_engine.query import Prompt
from guidealign_engine.results import Batch, Retrieval

_BATCH = 256
_PROMPTS = "Prompts"
_Report = Callable[[str], None]


def diff(
    before: Annotated[Path, typer.Argument(metavar="A", help="Guideline file, folder of them, or bundle, as it was.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="The same as it is now.")],
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Lines of text or JSON; say which of them now get other guidelines.",
            rich_help_panel=_PROMPTS,
        ),
    ] = None,
    k: Annotated[
        int, typer.Option("--k", "-k", min=1, max=1000, help="At most so many a prompt.", rich_help_panel=_PROMPTS)
    ] = 6,
    min_score: Annotated[
        float | None,
        typer.Option(
            "--min-score",
            metavar="X",
            min=-1.0,
            max=1.0,
            help="From which score a guideline counts; without it, the thresholds of the bundles. Files have none.",
            rich_help_panel=_PROMPTS,
        ),
    ] = None,
    encoder: Annotated[
        Path | None,
        typer.Option(
            "--encoder",
            metavar="DIR",
            help="Bundle or trained student whose encoder searches files; without it, the starter bundle's.",
            rich_help_panel=_PROMPTS,
        ),
    ] = None,
    vectors: Annotated[
        str,
        typer.Option(
            "--vectors",
            metavar="student|teacher",
            help="Who embeds the guidelines of files.",
            rich_help_panel=_PROMPTS,
        ),
    ] = "student",
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with 1 when anything differs, as git diff does.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what changed from library A to library B, and which prompts now get other guidelines.

    Guidelines are the same by their id. Two bundles are asked as they are; otherwise both libraries are embedded and
    searched exhaustively by one encoder, so that nothing but the guidelines differs.

    guidealign library diff main.jsonl mine.jsonl

    guidealign library diff old-bundle new-bundle --prompts prompts.txt --exit-code
    """
    from guidealign_engine.offline.guidelines.diff import diff_libraries
    from guidealign_engine.offline.guidelines.retrieval_diff import diff_retrievals

    if prompts is None and (min_score is not None or encoder is not None):
        raise typer.BadParameter("--min-score and --encoder are for --prompts; give a file of them")
    with show.progress() as report, ExitStack() as scratch:
        report("  reading")
        found = diff_libraries(_read(before), _read(after))
        answers = None
        if prompts is not None:
            folder = Path(scratch.enter_context(tempfile.TemporaryDirectory(prefix="guidealign-diff-")))
            engines = _engines(before, after, folder, encoder=encoder, vectors=vectors, report=report)
            options = {"k": k, "min_score": min_score}
            answers = diff_retrievals(_answered_twice(prompts, engines, options), report)
    record = {"a": str(before), "b": str(after), **found.as_dict()}
    record["prompts"] = None
    if answers is not None:
        record["prompts"] = {"asked": _asked(before, after, k, min_score, vectors), **answers.as_dict()}
    if as_json:
        typer.echo(show.json_line(record), nl=False)
    else:
        print_diff(show.stdout(), record)
    if exit_code and not (found.is_empty and (answers is None or answers.is_empty)):
        raise typer.Exit(1)


def _is_bundle(path: Path) -> bool:
    return (path / MANIFEST).is_file()


def _guideline_files(path: Path) -> Path:
    return path / GUIDELINES if _is_bundle(path) else path


def _read(path: Path) -> list[GuidelineRecord]:
    if _is_bundle(path):
        open_bundle(path)
    return read_guidelines([_guideline_files(path)])


def _engines(
    before: Path, after: Path, folder: Path, *, encoder: Path | None, vectors: str, report: _Report
) -> tuple[Engine, Engine]:
    """The bundles themselves, or two new ones in `folder` that differ in their guidelines only."""
    if _is_bundle(before) and _is_bundle(after):
        return load_engine(before), load_engine(after)
    for name, path in (("a", before), ("b", after)):
        report(f"  embedding {path}")
        build(
            [_guideline_files(path)],
            folder / name,
            vectors=vectors,
            encoder=encoder,
            index="flat",
            store="float16",
            default_kind=None,
            name=name,
            pairs=[],
            report=lambda line: report(f"  {line.strip()}"),
        )
    return load_engine(folder / "a"), load_engine(folder / "b")


def _asked(before: Path, after: Path, k: int, min_score: float | None, vectors: str) -> str:
    """How the two were asked, in words."""
    if _is_bundle(before) and _is_bundle(after):
        cut = "by their own thresholds" if min_score is None else f"from score {min_score:g}"
        return f"two bundles as they are, at most {k} guidelines a prompt {cut}"
    cut = "" if min_score is None else f" from score {min_score:g}"
    return f"both libraries embedded by the {vectors}, the best {k} guidelines a prompt{cut}"


def _answered_twice(
    prompts: Path, engines: tuple[Engine, Engine], options: Mapping[str, Any]
) -> Iterator[tuple[list[Prompt], Batch[Retrieval], Batch[Retrieval]]]:
    before, after = engines

    def ask(batch: Sequence[Prompt]) -> Batch[Retrieval]:
        return before.retrieve_batch(batch, **options)

    for items, old in answered(read_prompts(None, str(prompts)), _BATCH, ask):
        texts = [item.prompt for item in items]
        yield texts, old, after.retrieve_batch(texts, **options)

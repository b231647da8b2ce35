"""`guidealign bundle build|info|verify`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from guidealign_engine.bundle import COLUMNS, Bundle, open_bundle
from guidealign_engine.calibration import FALSE_ALARMS
from guidealign_engine.commands import show
from guidealign_engine.commands.bundle_build import build
from guidealign_engine.commands.options import AsJson
from guidealign_engine.errors import ArtifactError, GuidealignError
from guidealign_engine.index_tuning import RECALL_TARGET
from guidealign_engine.library import KINDS
from guidealign_engine.verification import verify_bundle

bundle_app = typer.Typer(no_args_is_help=True, help="Make, explain and check bundles.")

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A bundle folder.")]


@bundle_app.command("build")
def build_and_explain(
    guidelines: Annotated[
        list[Path],
        typer.Option("--guidelines", metavar="FILE_OR_DIR", help="JSON lines of guidelines; may be repeated."),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The new bundle; one that is there is replaced in one step.")
    ],
    vectors: Annotated[
        str | None,
        typer.Option(
            "--vectors",
            metavar="student|teacher",
            help="Who embeds the library; without it, the teacher where it is installed.",
        ),
    ] = None,
    encoder: Annotated[
        Path | None,
        typer.Option(
            "--encoder",
            metavar="DIR",
            help="A bundle, or a folder of build student, to take the encoder from; without it, the starter bundle.",
        ),
    ] = None,
    index: Annotated[
        str | None,
        typer.Option("--index", metavar="flat|pq|ivf_pq|ivf_pq4|hnsw", help="Kind of index; else chosen by size."),
    ] = None,
    store: Annotated[
        str, typer.Option("--store", metavar="float16|int8", help="How vectors for exact scores are kept.")
    ] = "float16",
    examples: Annotated[
        str,
        typer.Option(
            "--examples",
            metavar="folded|each",
            help="Example inputs folded into their guideline's one vector, or each a vector of its own.",
        ),
    ] = "folded",
    fold: Annotated[
        list[Path] | None,
        typer.Option(
            "--fold",
            metavar="FILE_OR_DIR",
            help="Pairs whose train inputs are folded like examples, and are not stored; may be repeated.",
        ),
    ] = None,
    queries: Annotated[
        list[Path] | None,
        typer.Option(
            "--queries",
            metavar="PATH",
            help="What the index is tuned on, as in build index: pairs, of which only the dev split is read, or JSON "
            "lines with a text; may be repeated.",
        ),
    ] = None,
    recall: Annotated[
        float,
        typer.Option(
            "--recall",
            min=0.0,
            max=1.0,
            help="With --queries: the share of an exact search's six best guidelines that the index must find.",
        ),
    ] = RECALL_TARGET,
    default_kind: Annotated[
        str | None, typer.Option("--default-kind", metavar="safety|quality", help="For guidelines without a kind.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the bundle; without it, the folder's.")
    ] = None,
    pairs: Annotated[
        list[Path] | None,
        typer.Option(
            "--calibrate",
            metavar="FILE_OR_DIR",
            help="Pairs whose dev split sets the thresholds; may be repeated.",
        ),
    ] = None,
    false_alarms: Annotated[
        float,
        typer.Option(
            "--false-alarms",
            min=0.0,
            max=1.0,
            help="With --calibrate: the share of inputs without a safety guideline that may be shown one.",
        ),
    ] = FALSE_ALARMS,
    as_json: AsJson = False,
) -> None:
    """Make a bundle of guideline files.

    guidealign bundle build --guidelines policy.jsonl --out policy-bundle

    guidealign bundle build --guidelines rules/ --default-kind safety --calibrate pairs/ --out rules-bundle

    guidealign bundle build --guidelines many/ --queries pairs/ --recall 0.99 --out tuned-bundle
    """
    with show.progress() as report:
        build(
            guidelines,
            out,
            vectors=vectors,
            encoder=encoder,
            index=index,
            store=store,
            examples=examples,
            fold=fold or [],
            queries=queries or [],
            recall=recall,
            default_kind=default_kind,
            name=name or out.resolve().name,
            pairs=pairs or [],
            false_alarms=false_alarms,
            report=report,
        )
    _explain(open_bundle(out), as_json=as_json)


@bundle_app.command()
def info(folder: Folder, as_json: AsJson = False) -> None:
    """Explain a bundle: what is in it, and how it was made.

    guidealign bundle info policy-bundle
    """
    _explain(open_bundle(folder), as_json=as_json)


@bundle_app.command()
def verify(folder: Folder) -> None:
    """Check every hash, that the parts fit each other, and that a prompt finds something.

    guidealign bundle verify policy-bundle
    """
    try:
        for check in verify_bundle(folder):
            typer.echo(f"ok  {check}")
    except GuidealignError:
        raise
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ArtifactError(f"the parts contradict each other: {error!r}", file=folder) from error


def _explain(bundle: Bundle, *, as_json: bool) -> None:
    manifest = bundle.manifest
    kinds = _counts_by_kind(bundle)
    if as_json:
        typer.echo(show.json_line({**asdict(manifest), "kinds": kinds}), nl=False)
    else:
        show.stdout().print(show.table(_rows(bundle, kinds)))


def _rows(bundle: Bundle, kinds: dict[str, int]) -> list[tuple[str, str]]:
    manifest = bundle.manifest
    encoder, index, thresholds = manifest.encoder, manifest.index, manifest.thresholds
    by_kind = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
    width = "" if index.nprobe is None else f", width {index.nprobe}"
    recall = "" if index.recall is None else f", recall {index.recall:.4f} when it was built"
    return [
        ("name", manifest.name),
        ("format", str(manifest.format)),
        ("made by", manifest.created_by),
        ("guidelines", f"{manifest.guidelines:,}: {by_kind}"),
        ("tags", f"{len(manifest.tags):,}"),
        ("vectors", f"{manifest.vectors:,} by the {manifest.vectors_by}"),
        ("encoder", f"{encoder.id}: {encoder.dimension} dimensions, {encoder.vocabulary:,} tokens"),
        ("teacher", encoder.teacher or "none"),
        ("index", f"{index.kind}{width}{recall}"),
        ("thresholds", "none: the best k are shown" if thresholds is None else _words(asdict(thresholds))),
        *([("quality", _words(manifest.quality))] if manifest.quality else []),
        *[(part, f"{entry['bytes']:>12,} bytes") for part, entry in manifest.parts.items()],
        ("together", f"{sum(entry['bytes'] for entry in manifest.parts.values()):>12,} bytes"),
    ]


def _counts_by_kind(bundle: Bundle) -> dict[str, int]:
    codes = bundle.arrays(COLUMNS).get("kinds")
    if codes is None or codes.dtype != np.uint8 or codes.ndim != 1:
        raise ArtifactError("must be a uint8 column", file=bundle.folder / COLUMNS, field="kinds")
    return {str(kind): int(np.count_nonzero(codes == code)) for code, kind in enumerate(KINDS)}


def _words(values: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())

"""`guidealign build calibrate`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from guidealign_engine.bundle import GUIDELINES, check_replaceable, open_bundle
from guidealign_engine.calibrated_bundle import publish_calibrated
from guidealign_engine.calibration import FALSE_ALARMS
from guidealign_engine.calibration_report import CalibrationReport, LengthBand
from guidealign_engine.commands import show
from guidealign_engine.commands.library_tables import grid, heading, percent
from guidealign_engine.commands.options import AsJson
from guidealign_engine.guideline_files import read_guidelines
from guidealign_engine.held_out_pairs import read_dev_pairs


def calibrate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle, calibrated or not.")],
    pairs: Annotated[
        list[Path],
        typer.Option(
            "--pairs",
            metavar="FILE_OR_DIR",
            help="Pairs whose dev split sets the thresholds; may be repeated.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The new bundle; one that is there is replaced in one step.")
    ],
    false_alarms: Annotated[
        float,
        typer.Option(
            "--false-alarms",
            min=0.0,
            max=1.0,
            help="The share of inputs without a safety guideline that may be shown one.",
        ),
    ] = FALSE_ALARMS,
    as_json: AsJson = False,
) -> None:
    """Set from which risk and score on a bundle shows a guideline, and report what that does.

    Only the dev split is read. The quarters of the inputs by length show whether short and long queries fare alike.

    guidealign build calibrate policy-bundle --pairs pairs/ --false-alarms 0.05 --out calibrated-bundle
    """
    check_replaceable(out)
    open_bundle(bundle)
    labelled = read_dev_pairs(pairs, {record.id for record in read_guidelines([bundle / GUIDELINES])})
    with show.progress() as report:
        report(f"thresholds from {len(labelled):,} dev inputs")
        found = publish_calibrated(bundle, out, labelled, false_alarms=false_alarms)
    if as_json:
        typer.echo(show.json_line({"bundle": str(out), **found.as_dict()}), nl=False)
    else:
        print_report(show.stdout(), found)


def print_report(console: Console, found: CalibrationReport) -> None:
    rows = [*asdict(found.thresholds).items(), *((f"risk {name}", value) for name, value in asdict(found.risk).items())]
    console.print(show.table([(name.replace("_", " "), f"{value:g}") for name, value in rows]))
    heading(console, f"shown to dev inputs by length; {percent(found.false_alarms_asked)} false alarms were asked for")
    headers = ("characters", "inputs", "need it", "safety", "false", "95 %", "quality", "min risk", "AUC")
    bands = [_band_row(f"{band.shortest:,} to {band.longest:,}", band) for band in found.by_length]
    console.print(grid(headers, [*bands, _band_row("all", found.all)]))
    console.print(
        "need it: inputs with a safety guideline; safety, quality: the share of those with one that are shown one; "
        "false: of those without a safety guideline; min risk: what a row alone would set; AUC: of the risk"
    )


def _band_row(name: str, band: LengthBand) -> list[str]:
    interval = band.false_alarms_interval
    return [
        name,
        f"{band.inputs:,}",
        f"{band.need_safety:,}",
        _percent(band.safety_found),
        _percent(band.false_alarms),
        "-" if interval is None else f"{100 * interval[0]:.1f}–{100 * interval[1]:.1f}",
        _percent(band.quality_found),
        _figure(band.min_risk_alone),
        _figure(band.auc),
    ]


def _percent(share: float | None) -> str:
    return "-" if share is None else percent(share)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"

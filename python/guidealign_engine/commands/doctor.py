"""`guidealign doctor`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.text import Text

from guidealign_engine.commands import show
from guidealign_engine.commands.options import AsJson
from guidealign_engine.devices import ALLOWED
from guidealign_engine.doctor import Diagnosis, Severity, diagnose
from guidealign_engine.surroundings import Surroundings

_STYLES = {Severity.PROBLEM: "bold red", Severity.NOTE: "yellow"}


def doctor(
    device: Annotated[
        str, typer.Option("--device", metavar="D", help=f"What an engine would be asked for: {ALLOWED}.")
    ] = "auto",
    as_json: AsJson = False,
) -> None:
    """Say what is installed, which device each stage would use, what clashes, and what to do about it.

    Ends with 1 when the device that was asked for cannot be used.

    guidealign doctor --device cuda
    """
    diagnosis = diagnose(Surroundings.look(), device)
    if as_json:
        sys.stdout.write(show.json_line(diagnosis.record))
    else:
        _print(diagnosis)
    if not diagnosis.works:
        raise typer.Exit(1)


def _print(diagnosis: Diagnosis) -> None:
    console = show.stdout()
    driver = diagnosis.driver
    newest = "" if driver.cuda_version is None else ".".join(map(str, driver.cuda_version))
    rows = [(each.name, _package(each.version, each.cuda_major)) for each in diagnosis.packages]
    rows.append(("driver", driver.problem or f"CUDA up to {newest}"))
    rows += [
        (
            f"cuda:{number}",
            f"{card.name}, {card.total_bytes / 1e9:.0f} GB, compute capability {card.capability[0]}."
            f"{card.capability[1]}",
        )
        for number, card in enumerate(driver.cards)
    ]
    rows += [(f"{stage} on", place) for stage, place in diagnosis.stages.items()]
    console.print(show.table(rows))
    for finding in diagnosis.findings:
        line = Text()
        line.append(f"{finding.severity}: ", style=_STYLES[finding.severity])
        line.append(show.plain(f"{finding.what}\n  {finding.advice}"))
        console.print(line)
    verdict = "can be used" if diagnosis.works else "cannot be used"
    console.print(f"device {diagnosis.device} {verdict}")


def _package(version: str, cuda_major: int | None) -> str:
    return version if cuda_major is None else f"{version}, for CUDA {cuda_major}"

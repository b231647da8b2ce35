"""The files that a report leaves in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guidealign_engine.errors import ArtifactError
from guidealign_engine.offline.evaluation.plot_quality import plot_pareto, plot_quality
from guidealign_engine.offline.evaluation.plot_safety import plot_rates, plot_roc
from guidealign_engine.offline.guidelines.whole_files import written_whole

REPORT = "report.json"


def check_report_folder(out: Path) -> None:
    """Raises ArtifactError for a place where no report can be put, before any work is done."""
    if out.exists() and not out.is_dir():
        raise ArtifactError("this is a file; give a folder", file=out)
    if out.is_dir() and not (out / REPORT).is_file() and any(out.iterdir()):
        raise ArtifactError("the folder exists and holds no report; give another one", file=out)


def write_report(record: Mapping[str, Any], out: Path) -> list[Path]:
    """Writes the pictures, then report.json, each whole or not at all; returns all of them."""
    out.mkdir(parents=True, exist_ok=True)
    files = [out / "quality.png"]
    plot_quality([*record["own"]["rows"], *record["judged"]["rows"]], files[0])
    if record["pareto"]:
        files.append(out / "pareto.png")
        plot_pareto(record["pareto"], files[-1])
    if record["safety"] is not None and record["safety"]["sets"]:
        files.append(out / "safety.png")
        plot_rates(record["safety"], files[-1])
        if record["safety"]["risk"] is not None:
            files.append(out / "roc.png")
            plot_roc(record["safety"]["risk"], files[-1])
    files.append(out / REPORT)
    with written_whole([files[-1]]) as (opened,):
        opened.write(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return files

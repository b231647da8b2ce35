"""An existing bundle with thresholds and a risk model from held-out inputs."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from guidealign_engine.bundle import check_replaceable, open_bundle, publish_bundle
from guidealign_engine.calibration import FALSE_ALARMS, calibrate, calibrated
from guidealign_engine.calibration_report import CalibrationReport, report_on
from guidealign_engine.loading import load_engine
from guidealign_engine.pairs import Pair


def publish_calibrated(
    folder: Path, out: Path, pairs: Sequence[Pair], *, false_alarms: float = FALSE_ALARMS
) -> CalibrationReport:
    """Calibrates a bundle, which may be calibrated already, and publishes it in `out`, in one step.

    The report is measured on the finished bundle before it is published. Raises what `calibrate` raises, and
    ArtifactError for what is no whole bundle; `out` then stays as it was.
    """
    check_replaceable(out)
    bundle = open_bundle(folder)
    found = calibrate(load_engine(folder), pairs, false_alarms=false_alarms)
    parts = {part: bundle.read(part) for part in bundle.manifest.parts}
    manifest = calibrated(bundle.manifest, found)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        finished = Path(scratch) / "bundle"
        publish_bundle(finished, manifest, parts)
        report = report_on(load_engine(finished), found, pairs, false_alarms=false_alarms)
    measured = {**manifest.quality, **({} if report.all.auc is None else {"risk_auc": report.all.auc})}
    publish_bundle(out, replace(manifest, quality=measured), parts)
    return report

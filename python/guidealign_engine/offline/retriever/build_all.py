"""From guidelines, pairs and texts to a verified bundle, in steps of which each is done once."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from guidealign_engine.building import check_store
from guidealign_engine.bundle import MANIFEST, check_replaceable, open_bundle, publish_bundle
from guidealign_engine.errors import ArtifactError, ConfigError
from guidealign_engine.index_kinds import choose_kind
from guidealign_engine.offline.retriever.all_material import AllMaterial
from guidealign_engine.offline.retriever.all_steps import BUNDLE, GPU, plan_all
from guidealign_engine.offline.retriever.build_all_config import TRAIN, BuildAllConfig
from guidealign_engine.offline.retriever.run_record import write_run_record
from guidealign_engine.offline.retriever.step_folders import run_steps
from guidealign_engine.offline.retriever.steps import Report
from guidealign_engine.offline.retriever.teacher import find_teacher
from guidealign_engine.offline.retriever.training_device import choose_device, described

_WORK = "work"
_MEGABYTE = 1_000_000
# The checkpoint holds weights and two moments of each, and a new one is written beside the old one.
_CHECKPOINT_WEIGHTS = 6
_BYTES_PER_TEXT = 2048
_FLOAT32_BYTES = 4


def work_folder(out: Path) -> Path:
    """Where the steps have their folders. Absolute, since a bundle names its teacher by it."""
    return out.resolve() / _WORK


def build_all(material: AllMaterial, out: Path, config: BuildAllConfig, report: Report) -> dict[str, Any]:
    """Runs what is not finished, publishes the verified bundle in `out`/bundle, and returns the run record.

    The bundle for GPUs, where one is asked for, is `out`/gpu-bundle.

    Raises what `check_all` and the steps raise, and ArtifactError while another run is at work in `out`; started again,
    it goes on.
    """
    check_all(material, out, config)
    work = work_folder(out)
    work.mkdir(parents=True, exist_ok=True)
    steps = plan_all(material, work, config)
    records = dict[str, Mapping[str, Any]]()
    run = dict[str, Any]()
    device = described(choose_device(config.device))
    report(f"device {device}")
    with _alone(work):
        for left in (*out.glob(f".{BUNDLE}.*"), *out.glob(f".{GPU}{BUNDLE}.*")):
            shutil.rmtree(left, ignore_errors=True)
        for step, record in run_steps(work, steps, report):
            records[step.name] = record
            if step.name in ("verify", f"{GPU}verify"):
                prefix = step.name.removesuffix("verify")
                _publish(work / f"{prefix}calibrate" / BUNDLE, out / f"{prefix}{BUNDLE}")
            run = write_run_record(out, asdict(config), records, device=device, finished=step is steps[-1])
    return run


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    with (work / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ArtifactError(
                "another run is at work in this folder; wait for it, or give another", file=work
            ) from error
        yield


def check_all(material: AllMaterial, out: Path, config: BuildAllConfig) -> None:
    """What would else be met after the long steps. Raises ConfigError, ArtifactError or DeviceError."""
    choose_device(config.device)
    for bundle in (BUNDLE, *([f"{GPU}{BUNDLE}"] if config.gpu_student else [])):
        check_replaceable(out / bundle)
    check_store(config.store)
    choose_kind(config.index, len(material.records))
    if config.training.training.batch_size > len(material.inputs) and config.teacher == TRAIN:
        raise ConfigError(
            f"{len(material.inputs)} training inputs are fewer than a batch of {config.training.training.batch_size}; "
            "give more pairs or a smaller batch"
        )
    needed = _bytes_needed(material, config)
    there = next(folder for folder in (out.resolve(), *out.resolve().parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise ArtifactError(
            f"{free // _MEGABYTE} MB are free, and about {needed // _MEGABYTE} MB are needed for checkpoints and "
            "teacher vectors; make room, or give another folder",
            file=out,
        )


def _bytes_needed(material: AllMaterial, config: BuildAllConfig) -> int:
    """For checkpoints, which hold the weights of what is trained, and for the teacher's vectors."""
    base = Path(find_teacher(config.training.base)) if config.teacher == TRAIN else Path()
    weights = sum(file.stat().st_size for file in base.rglob("*.safetensors")) if base != Path() else 0
    if config.gpu_transformer is not None:
        width, layers = config.gpu_transformer.width, config.gpu_transformer.layers
        weights += _FLOAT32_BYTES * width * (config.student.vocabulary + 12 * layers * width)
    texts = min(config.limit, len(material.texts)) + len(material.inputs)
    return _CHECKPOINT_WEIGHTS * weights + _BYTES_PER_TEXT * texts


def _publish(verified: Path, out: Path) -> None:
    """Puts a copy in place, unless it is there already."""
    manifest = out / MANIFEST
    if manifest.is_file() and manifest.read_bytes() == (verified / MANIFEST).read_bytes():
        return
    bundle = open_bundle(verified)
    publish_bundle(out, bundle.manifest, {part: bundle.read(part) for part in bundle.manifest.parts})

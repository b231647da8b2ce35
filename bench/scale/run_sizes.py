"""One size after the other: built, opened in a fresh process, compared with exact search in another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from bench.scale.bundles import made_bundle
from bench.scale.exact import ENOUGH, Width, exact_positions, widths
from bench.scale.measure_scale import Measured, Progress, mean_share, measure, to_stderr
from bench.scale.memory import Resident, resident
from bench.scale.sizes import Size
from guidealign_engine import load_engine
from guidealign_engine.bundle import read_manifest

RECALL_PROMPTS = 300
FEWEST_RECALL = 0.9

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that is known of a size."""

    size: Size
    made: dict[str, Any]
    index: dict[str, Any]
    bundle_bytes: dict[str, int]
    measured: Measured
    recall: float
    """Of the final guidelines of exact search for as many candidates, the mean share that was found."""
    recall_of_enough: float
    """Of those of exact search for so many candidates that more would change nothing."""
    widths: list[Width]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured with: prompts that the index was not tuned on."""

    source: Path
    cache: Path
    tune_on: list[str]
    prompts: list[str]
    seed: int
    rounds: int
    pause_s: float
    recall: float
    """What each index is tuned to find of the six guidelines that are shown"""


def run_size(size: Size, plan: Plan, report: Progress = to_stderr) -> Outcome:
    """Raises AssertionError when an answer is wrong, or far from what exact search finds.

    report: a function of a module, since other processes call it.
    """
    folder, made = _fresh(
        made_bundle, size, plan.source, plan.cache, plan.tune_on, seed=plan.seed, recall=plan.recall, report=report
    )
    report(f"{size.name}: measuring, {plan.rounds} rounds")
    measured = _fresh(measure, folder, plan.prompts, rounds=plan.rounds, pause_s=plan.pause_s, progress=report)
    asked = plan.prompts[:RECALL_PROMPTS]
    report(f"{size.name}: exact search for {len(asked)} prompts")
    exact = _fresh(exact_positions, folder, asked)
    found = measured.positions[: len(asked)]
    recall = mean_share(found, exact)
    assert recall >= FEWEST_RECALL, f"{size.name}: only {recall:.3f} of what exact search finds was found"
    manifest = read_manifest(folder)
    index = manifest.index
    return Outcome(
        size=size,
        made=made,
        index={name: getattr(index, name) for name in ("kind", "code_bytes", "nprobe", "pool", "recall", "target")},
        bundle_bytes={part: int(entry["bytes"]) for part, entry in manifest.parts.items()},
        measured=measured,
        recall=recall,
        recall_of_enough=mean_share(found, _fresh(exact_positions, folder, asked, candidates=ENOUGH)),
        widths=_fresh(widths, folder, asked, exact),
    )


def without_library(source: Path, prompt: str) -> Resident:
    """Of a process that serves the small bundle that all others were made from."""
    return _fresh(_serve, source, prompt)


def _serve(folder: Path, prompt: str) -> Resident:
    engine = load_engine(folder)
    engine.assemble_batch([prompt], min_score=-1.0)
    return resident(engine, folder)


def _fresh(call: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
    """The call's result, from a process that has done nothing yet."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        return processes.submit(call, *arguments, **options).result()


def split_prompts(prompts: Sequence[str], tuned_on: int) -> tuple[list[str], list[str]]:
    """Prompts for tuning the index and others for measuring; at most half of them for tuning."""
    cut = min(tuned_on, len(prompts) // 2)
    return list(prompts[:cut]), list(prompts[cut:])

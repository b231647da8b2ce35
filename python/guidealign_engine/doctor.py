"""Which device each stage would use, what clashes, and what to do about it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from guidealign_engine.devices import CPU, CUDA_PROVIDER, parse_device
from guidealign_engine.gpu.driver import CudaDriver
from guidealign_engine.gpu.libraries import CUDNN
from guidealign_engine.surroundings import IMPORTED_AS, Installed, Surroundings


class Severity(StrEnum):
    PROBLEM = "problem"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be, and what to do about it."""

    severity: Severity
    what: str
    advice: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The doctor's answer; `works` says whether what was asked for can be used."""

    device: str
    works: bool
    stages: Mapping[str, str]
    """Device by stage, or why there is none."""
    packages: Sequence[Installed]
    driver: CudaDriver
    findings: Sequence[Finding]

    @property
    def record(self) -> dict[str, Any]:
        """The same for machines."""
        return asdict(self)


def diagnose(around: Surroundings, device: str = "auto") -> Diagnosis:
    """Whether `load_engine(device=device)` can work here, and where its stages would run.

    Raises ConfigError for a device that has no meaning.
    """
    wanted = parse_device(device)
    findings = [*_clashes(around.packages), *_mixed_cuda(around.packages), *_gpu_findings(around)]
    stack = around.stack
    if stack is None:
        advice = 'pip install "guidealign-engine[cpu]", or guidealign-engine[gpu] on a machine with a GPU'
        findings.insert(0, Finding(Severity.PROBLEM, around.not_imported or "onnxruntime or FAISS is missing", advice))
        return Diagnosis(device, False, _stages("none"), around.packages, around.driver, findings)
    if wanted == CPU:
        return Diagnosis(device, True, _stages("cpu"), around.packages, around.driver, findings)
    gpus = wanted.gpus if wanted else (0,)
    obstacle = stack.obstacle(gpus) or _unusable(around)
    if obstacle is None:
        on_gpus = f"cuda:{','.join(map(str, gpus))}"
        stages = {"encode": f"cuda:{gpus[0]}", "search": on_gpus, "rerank": _rerank(gpus)}
        return Diagnosis(device, True, stages, around.packages, around.driver, findings)
    what, _, advice = obstacle.partition("; ")
    if wanted is None:
        findings.append(Finding(Severity.NOTE, f"no GPU is used: {what}", "nothing to do where a CPU is enough"))
        return Diagnosis(device, True, _stages("cpu"), around.packages, around.driver, findings)
    findings.insert(0, Finding(Severity.PROBLEM, f"device {device!r} was asked for, but {what}", advice))
    return Diagnosis(device, False, _stages("none"), around.packages, around.driver, findings)


def _clashes(packages: Sequence[Installed]) -> Iterable[Finding]:
    """Builds that overwrite each other, and those that hide each other."""
    for module in ("onnxruntime", "faiss"):
        builds = [each for each in packages if IMPORTED_AS.get(each.name) == module]
        by_folder: dict[str, list[str]] = {}
        for each in builds:
            by_folder.setdefault(each.folder, []).append(each.name)
        for folder, names in by_folder.items():
            if len(names) > 1:
                listed = " and ".join(sorted(names))
                yield Finding(
                    Severity.PROBLEM,
                    f"{listed} lie in one folder, {folder}, and overwrite each other's files in {module}",
                    f"pip uninstall {' '.join(sorted(names))}, then install the one that you want",
                )
        if len(by_folder) > 1:
            first = next((folder for folder in sys.path if folder in by_folder), next(iter(by_folder)))
            yield Finding(
                Severity.NOTE,
                f"{module} is installed in {len(by_folder)} folders; Python takes {' and '.join(by_folder[first])} "
                f"of {first}",
                "nothing to do where that is the one that you want",
            )


def _mixed_cuda(packages: Sequence[Installed]) -> Iterable[Finding]:
    builds = {each.name: each.cuda_major for each in packages if each.cuda_major is not None}
    if len(set(builds.values())) > 1:
        listed = ", ".join(f"{name} for CUDA {major}" for name, major in sorted(builds.items()))
        yield Finding(
            Severity.PROBLEM,
            f"packages for different CUDA versions are installed: {listed}",
            'take all for one: pip install "guidealign-engine[gpu]" brings those for CUDA 13',
        )


def _gpu_findings(around: Surroundings) -> Iterable[Finding]:
    """Of what a GPU needs beside its packages; nothing where no GPU package is installed."""
    builds = [each for each in around.packages if each.cuda_major is not None]
    if not builds:
        if around.driver.cards:
            yield Finding(
                Severity.NOTE,
                f"there is a GPU, {around.driver.cards[0].name}, and no package that uses it",
                'pip uninstall onnxruntime faiss-cpu, then pip install "guidealign-engine[gpu]"',
            )
        return
    if not any(each.name == "onnx" for each in around.packages):
        yield Finding(Severity.PROBLEM, "an encoder on a GPU needs onnx, which is not installed", "pip install onnx")
    if around.driver.problem:
        yield Finding(Severity.PROBLEM, around.driver.problem, "install NVIDIA's driver, or use the cpu extra instead")
    elif around.stack and (too_old := around.stack.driver_too_old()):
        what, _, advice = too_old.partition("; ")
        yield Finding(Severity.PROBLEM, what, advice)
    for major, names in around.missing_libraries.items():
        computing = [name for name in names if name != CUDNN]
        if computing:
            suffix = "" if major >= 13 else f"-cu{major}"
            packages = " ".join(f"nvidia-{name}{suffix}" for name in ("cuda-runtime", "cublas", "curand", "cufft"))
            advice = f"pip install {packages}, or set LD_LIBRARY_PATH to the folder that has them"
            yield Finding(Severity.PROBLEM, f"missing for CUDA {major}: {', '.join(computing)}", advice)
        if CUDNN in names:
            advice = f"pip install nvidia-cudnn-cu{major}; encoders that reduce over tokens need it"
            yield Finding(Severity.PROBLEM, f"missing for CUDA {major}: {CUDNN}", advice)


def _unusable(around: Surroundings) -> str | None:
    """What the stack does not see: a library that a stage will want."""
    stack = around.stack
    major = stack.runtime_major if stack and CUDA_PROVIDER in stack.providers else None
    names = around.missing_libraries.get(major, ()) if major is not None else ()
    return f"{', '.join(names)} cannot be loaded; see below" if names else None


def _rerank(gpus: Sequence[int]) -> str:
    return f"cuda:{gpus[0]} where the vectors fit, otherwise cpu" if len(gpus) == 1 else "cpu"


def _stages(device: str) -> dict[str, str]:
    return dict.fromkeys(("encode", "search", "rerank"), device)

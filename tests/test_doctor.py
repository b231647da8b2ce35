"""The doctor: what it reads of installed packages, what it says about them, and how it ends."""

from __future__ import annotations

import json
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from guidealign_engine import ConfigError
from guidealign_engine.commands import app
from guidealign_engine.devices import CudaStack, choose_device
from guidealign_engine.doctor import Finding, Severity, diagnose
from guidealign_engine.gpu.driver import Card, CudaDriver
from guidealign_engine.surroundings import Installed, Surroundings, installed_packages

DRIVER = CudaDriver((13, 0), (Card("NVIDIA H200", 150_000_000_000, (9, 0)),))
NO_DRIVER = CudaDriver(None, (), "there is no CUDA driver: libcuda.so.1 cannot be loaded")
GPU = CudaStack(("CUDAExecutionProvider", "CPUExecutionProvider"), 13, True, DRIVER)
CPU = CudaStack(("CPUExecutionProvider",), None, False, NO_DRIVER)
ONNX = Installed("onnx", "1.20.0", "/site")
RUNTIME, INDEX = Installed("onnxruntime-gpu", "1.31.1", "/site", 13), Installed("faiss-gpu-cuvs", "1.15.1", "/site", 13)


def around(
    *packages: Installed,
    stack: CudaStack | None = GPU,
    driver: CudaDriver = DRIVER,
    missing: dict[int, list[str]] | None = None,
    not_imported: str | None = None,
) -> Surroundings:
    return Surroundings(packages, stack, not_imported, driver, missing or {})


def problems(findings: Any) -> list[str]:
    return [finding.what for finding in findings if finding.severity is Severity.PROBLEM]


def install(site: Path, name: str, version: str, *requires: str, files: dict[str, str] | None = None) -> None:
    """A package as pip leaves it, as far as metadata goes."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    needs = "".join(f"Requires-Dist: {need}\n" for need in requires)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
    for path, content in (files or {}).items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(content)


def test_packages_tell_for_which_cuda_they_were_built(tmp_path: Path) -> None:
    built = {"onnxruntime/capi/build_and_package_info.py": "package_name = 'x'\ncuda_version = '13.0'\n"}
    install(tmp_path, "onnxruntime-gpu", "1.31.1", files=built)
    install(tmp_path, "faiss-gpu-cuvs", "1.15.1", "numpy>=1.25", "nvidia-cuda-runtime<14,>=13.2")
    install(tmp_path, "faiss-gpu-cu12", "1.14.0", "nvidia-cuda-runtime-cu12>=12.1")
    install(tmp_path, "faiss_cpu", "1.15.1", "numpy")
    install(tmp_path, "nvidia-cublas", "13.1.0")
    install(tmp_path, "requests", "2.0.0")
    found = installed_packages(distributions(path=[str(tmp_path)]))
    assert [(each.name, each.cuda_major) for each in found] == [
        ("faiss-cpu", None),
        ("faiss-gpu-cu12", 12),
        ("faiss-gpu-cuvs", 13),
        ("onnxruntime-gpu", 13),
        ("nvidia-cublas", None),
    ]
    assert {each.folder for each in found} == {str(tmp_path)}


def test_a_healthy_gpu_machine_has_nothing_to_mend() -> None:
    diagnosis = diagnose(around(RUNTIME, INDEX, ONNX), "cuda")
    assert diagnosis.works
    assert diagnosis.findings == []
    assert diagnosis.stages == {
        "encode": "cuda:0",
        "search": "cuda:0",
        "rerank": "cuda:0 where the vectors fit, otherwise cpu",
    }


@pytest.mark.parametrize(
    ("one", "other", "module"),
    [("onnxruntime", "onnxruntime-gpu", "onnxruntime"), ("faiss-cpu", "faiss-gpu-cuvs", "faiss")],
)
def test_two_builds_in_one_folder_clash(one: str, other: str, module: str) -> None:
    pair = [Installed(name, "1.0", "/site") for name in (one, other)]
    (finding,) = [each for each in diagnose(around(*pair), "cpu").findings if each.severity is Severity.PROBLEM]
    assert finding == Finding(
        Severity.PROBLEM,
        f"{one} and {other} lie in one folder, /site, and overwrite each other's files in {module}",
        f"pip uninstall {one} {other}, then install the one that you want",
    )


def test_two_builds_in_two_folders_hide_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend("/venv")
    pair = [Installed("onnxruntime", "1.30.0", "/system"), Installed("onnxruntime-gpu", "1.31.1", "/venv", 13)]
    (finding,) = diagnose(around(*pair, ONNX), "cpu").findings
    assert finding.severity is Severity.NOTE
    assert finding.what == "onnxruntime is installed in 2 folders; Python takes onnxruntime-gpu of /venv"


def test_cuda_12_beside_13_clashes() -> None:
    diagnosis = diagnose(around(RUNTIME, Installed("faiss-gpu", "1.15.1", "/site", 12), ONNX), "cuda")
    assert problems(diagnosis.findings) == [
        "packages for different CUDA versions are installed: faiss-gpu for CUDA 12, onnxruntime-gpu for CUDA 13"
    ]


def test_missing_libraries_stop_cuda_and_are_named_with_their_packages() -> None:
    missing = {13: ["libcublas.so.13", "libcudnn.so.9"]}
    diagnosis = diagnose(around(RUNTIME, INDEX, ONNX, missing=missing), "cuda:0")
    assert not diagnosis.works
    assert problems(diagnosis.findings) == [
        "device 'cuda:0' was asked for, but libcublas.so.13, libcudnn.so.9 cannot be loaded",
        "missing for CUDA 13: libcublas.so.13",
        "missing for CUDA 13: libcudnn.so.9",
    ]
    assert "nvidia-cublas " in diagnosis.findings[1].advice
    assert "nvidia-cudnn-cu13" in diagnosis.findings[2].advice


@pytest.mark.parametrize(
    ("driver", "problem"),
    [
        (NO_DRIVER, "there is no CUDA driver: libcuda.so.1 cannot be loaded"),
        (
            CudaDriver((12, 8), DRIVER.cards),
            "the driver knows CUDA up to 12.8, and this onnxruntime was built for CUDA 13",
        ),
    ],
    ids=["none", "old"],
)
def test_a_driver_that_is_missing_or_too_old_is_a_problem(driver: CudaDriver, problem: str) -> None:
    stack = CudaStack(GPU.providers, 13, True, driver)
    for device, works in (("cuda", False), ("auto", True), ("cpu", True)):
        diagnosis = diagnose(around(RUNTIME, INDEX, ONNX, stack=stack, driver=driver), device)
        assert diagnosis.works is works
        assert problem in problems(diagnosis.findings)


def test_a_gpu_that_no_package_uses_is_worth_a_note() -> None:
    packages = [Installed("onnxruntime", "1.32.0", "/site"), Installed("faiss-cpu", "1.15.1", "/site")]
    notes = [each.what for each in diagnose(around(*packages, stack=CPU), "cpu").findings]
    assert notes == ["there is a GPU, NVIDIA H200, and no package that uses it"]


def test_without_onnxruntime_nothing_works() -> None:
    diagnosis = diagnose(around(stack=None, driver=NO_DRIVER, not_imported="encoding needs onnxruntime"), "cpu")
    assert not diagnosis.works
    assert problems(diagnosis.findings) == ["encoding needs onnxruntime"]
    assert set(diagnosis.stages.values()) == {"none"}


def test_a_device_of_no_meaning_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^device is 'tpu'; allowed: "):
        diagnose(around(), "tpu")


def test_the_command_prints_what_is_installed_and_ends_by_what_works() -> None:
    shown = CliRunner().invoke(app, ["doctor", "--device", "cpu"])
    assert shown.exit_code == 0
    assert "onnxruntime" in shown.output
    assert "device cpu can be used" in shown.output
    asked = CliRunner().invoke(app, ["doctor", "--device", "cuda", "--json"])
    record = json.loads(asked.stdout)
    assert asked.exit_code == (0 if record["works"] else 1)
    assert record["works"] == bool(choose_device("auto").gpus)
    if not record["works"]:
        assert record["findings"][0]["what"].startswith("device 'cuda' was asked for, but ")
    assert CliRunner().invoke(app, ["doctor", "--device", "tpu"]).exit_code == 1

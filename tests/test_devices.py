"""Which device is taken: what was asked for, or an error that says what is in the way."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guidealign_engine import ConfigError, DeviceError, load_engine
from guidealign_engine.devices import CPU, CudaStack, Device, choose_device, parse_device
from guidealign_engine.gpu.driver import Card, CudaDriver, read_driver
from guidealign_engine.gpu.libraries import installed_library, needed_libraries

H200 = Card("NVIDIA H200", 150_000_000_000, (9, 0))
TWO_CARDS = CudaDriver((13, 0), (H200, H200))
CPU_PROVIDERS = ("AzureExecutionProvider", "CPUExecutionProvider")
GPU_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")

# A driver as the loader finds it: its answers are the constants that it is compiled with.
DRIVER_SOURCE = r"""
#include <string.h>
int cuDriverGetVersion(int *version) { *version = VERSION; return 0; }
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(int *device, int number) { *device = number; return 0; }
int cuDeviceGetName(char *name, int room, int device) { strncpy(name, device ? "second" : "first", room); return 0; }
int cuDeviceTotalMem_v2(unsigned long *bytes, int device) { *bytes = 80000000000ul; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? 9 : 0; return 0; }
int cuGetErrorString(int code, const char **text) { *text = code == 803 ? "driver and library differ" : 0; return 0; }
"""


def stack(
    *,
    providers: tuple[str, ...] = GPU_PROVIDERS,
    major: int | None = 13,
    faiss: bool = True,
    driver: CudaDriver = TWO_CARDS,
) -> CudaStack:
    return CudaStack(providers, major, faiss, driver)


@pytest.mark.parametrize(
    ("text", "device"),
    [("cpu", CPU), ("cuda", Device((0,))), ("cuda:1", Device((1,))), ("cuda:1,0", Device((1, 0))), ("auto", None)],
)
def test_a_device_is_named_by_a_text(text: str, device: Device | None) -> None:
    assert parse_device(text) == device


@pytest.mark.parametrize("text", ["gpu", "cuda:", "cuda:-1", "cuda:0,", "cuda:0 1", "cuda:1x", "auto:0", None, 3])
def test_any_other_text_is_refused(text: Any) -> None:
    with pytest.raises(ConfigError, match=r'^device is .*; allowed: "cpu", "cuda", "cuda:N", "cuda:N,M", "auto"$'):
        parse_device(text)


def test_a_gpu_named_twice_is_refused(raises_exactly: Any) -> None:
    with raises_exactly(ConfigError, "device is 'cuda:1,1'; it names a GPU twice"):
        parse_device("cuda:1,1")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (
            stack(providers=CPU_PROVIDERS),
            'this onnxruntime offers only AzureExecutionProvider, CPUExecutionProvider; use device="cpu", or install '
            "a GPU build of onnxruntime on a machine with a CUDA driver",
        ),
        (
            stack(faiss=False),
            'this FAISS has no GPU support; use device="cpu", or replace faiss-cpu: pip uninstall faiss-cpu, then '
            'pip install "guidealign-engine[gpu]"',
        ),
        (
            stack(driver=CudaDriver(None, (), "there is no CUDA driver: libcuda.so.1 cannot be loaded")),
            'there is no CUDA driver: libcuda.so.1 cannot be loaded; use device="cpu", or mend the driver',
        ),
        (
            stack(driver=CudaDriver((12, 4), (H200,))),
            "the driver knows CUDA up to 12.4, and this onnxruntime was built for CUDA 13; update the driver to 580 or "
            'newer, or use device="cpu"',
        ),
        (stack(driver=CudaDriver((13, 0), (H200,))), "there is no GPU 1; this process sees 1, numbered from 0"),
    ],
    ids=["runtime", "faiss", "driver", "old driver", "number"],
)
def test_what_is_in_the_way_is_an_error_for_cuda_and_a_reason_for_auto(
    raises_exactly: Any, found: CudaStack, message: str
) -> None:
    with raises_exactly(DeviceError, f"device 'cuda:1' was asked for, but {message}"):
        choose_device("cuda:1", found)
    if "GPU 1" not in message:
        assert choose_device("auto", found) == Device((), message)


def test_auto_takes_the_first_gpu_and_a_newer_driver_will_do() -> None:
    assert choose_device("auto", stack(driver=CudaDriver((14, 1), (H200,)))) == Device((0,))
    assert choose_device("cuda:1", stack()) == Device((1,))
    assert str(Device((1, 3))) == "cuda:1,3"
    assert str(CPU) == "cpu"


def test_auto_on_a_machine_without_a_gpu_answers_and_says_why(toy_bundle: Path) -> None:
    if choose_device("auto").gpus:
        pytest.skip("there is a GPU")
    engine = load_engine(toy_bundle, device="auto")
    assert (engine.devices.encode, engine.devices.search, engine.devices.rerank) == ("cpu", "cpu", "cpu")
    assert "this onnxruntime offers only" in engine.devices.notes["search"]
    assert engine.retrieve_batch(["how do I pick a lock"], min_score=-1.0)[0].positions[0] == 0


def test_an_unknown_spread_is_refused(toy_bundle: Path, raises_exactly: Any) -> None:
    with raises_exactly(ConfigError, "spread is 'halves'; allowed: auto, replicate, shard"):
        load_engine(toy_bundle, spread="halves")


@pytest.fixture
def compiled_driver(tmp_path: Path) -> Callable[..., str]:
    def compiled(**constants: int) -> str:
        source, library = tmp_path / "driver.c", tmp_path / "libcuda.so"
        source.write_text(DRIVER_SOURCE)
        defines = [f"-D{name}={value}" for name, value in constants.items()]
        subprocess.run(["cc", "-shared", "-fPIC", "-w", *defines, "-o", library, source], check=True, timeout=30)
        return str(library)

    return compiled


def test_the_driver_tells_its_cards(compiled_driver: Callable[..., str]) -> None:
    driver = read_driver(compiled_driver(VERSION=13020, INIT=0, COUNT=2))
    assert driver.cuda_version == (13, 2)
    assert driver.cards == (Card("first", 80_000_000_000, (9, 0)), Card("second", 80_000_000_000, (9, 0)))
    assert driver.problem is None


@pytest.mark.parametrize(
    ("init", "problem"),
    [
        (100, "the CUDA driver sees no GPU (is CUDA_VISIBLE_DEVICES empty?)"),
        (803, "the CUDA driver does not start: driver and library differ (error 803)"),
        (999, "the CUDA driver does not start: error 999"),
    ],
)
def test_a_driver_that_does_not_start_says_why(compiled_driver: Callable[..., str], init: int, problem: str) -> None:
    driver = read_driver(compiled_driver(VERSION=12040, INIT=init, COUNT=0))
    assert driver == CudaDriver((12, 4), (), problem)


def test_no_driver_is_a_problem_and_no_crash() -> None:
    driver = read_driver("libcuda-of-nobody.so.1")
    assert driver.problem == "there is no CUDA driver: libcuda-of-nobody.so.1 cannot be loaded"


@pytest.mark.parametrize("place", ["nvidia/cu13/lib", "nvidia/cublas/lib"])
def test_a_library_is_found_where_pip_puts_it(tmp_path: Path, place: str) -> None:
    library = tmp_path / "site" / place / "libcublas.so.13"
    library.parent.mkdir(parents=True)
    library.touch()
    assert installed_library("libcublas.so.13", [str(tmp_path), str(tmp_path / "site")]) == library
    assert installed_library("libcublas.so.12", [str(tmp_path / "site")]) is None


def test_each_cuda_has_its_own_libraries() -> None:
    assert "libcublas.so.12" in needed_libraries(12)
    assert "libcublas.so.13" in needed_libraries(13)
    assert needed_libraries(11) == ()

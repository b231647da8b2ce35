"""Which device an engine takes: what was asked for, or an error that says what is in the way."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from guidealign_engine.errors import ConfigError, DeviceError
from guidealign_engine.gpu.driver import CudaDriver, read_driver
from guidealign_engine.optional_packages import import_optional

CUDA_PROVIDER = "CUDAExecutionProvider"
ALLOWED = '"cpu", "cuda", "cuda:N", "cuda:N,M", "auto"'
_CUDA = re.compile(r"cuda(?::(\d+(?:,\d+)*))?")
_OLDEST_DRIVER = {12: "525", 13: "580"}


class Spread(StrEnum):
    """How an index lies on several GPUs."""

    AUTO = "auto"
    """A copy on each where it fits, otherwise a part on each."""
    REPLICATE = "replicate"
    SHARD = "shard"


@dataclass(frozen=True, slots=True)
class Device:
    """The CPU, or GPUs by their CUDA numbers: the encoder is on the first, the index on all."""

    gpus: tuple[int, ...] = ()
    why: str = ""
    """What was in the way of a GPU, where "auto" took the CPU."""

    def __str__(self) -> str:
        return f"cuda:{','.join(map(str, self.gpus))}" if self.gpus else "cpu"


CPU = Device()


@dataclass(frozen=True, slots=True)
class StageDevices:
    """Where the stages of an engine run; query, tokenize, select and assemble always are on the CPU."""

    encode: str = "cpu"
    search: str = "cpu"
    rerank: str = "cpu"
    notes: Mapping[str, str] = field(default_factory=dict)
    """By stage, why it is not on the device that was asked for, or runs there in a slower way."""


ON_CPU = StageDevices()


@dataclass(frozen=True, slots=True)
class CudaStack:
    """What stands between this process and a GPU."""

    providers: Sequence[str]
    """Of onnxruntime."""
    runtime_major: int | None
    """CUDA that onnxruntime was built for."""
    faiss_has_gpu: bool
    driver: CudaDriver

    @classmethod
    def read(cls) -> CudaStack:
        """Imports onnxruntime and FAISS; the driver is asked only where both could use it."""
        runtime = import_optional("onnxruntime", package="onnxruntime", extra="cpu", purpose="encoding")
        faiss = import_optional("faiss", package="faiss-cpu", extra="cpu", purpose="searching")
        providers = runtime.get_available_providers()
        has_gpu = hasattr(faiss, "StandardGpuResources")
        built_for = getattr(runtime, "cuda_version", "") or ""
        major = int(built_for.split(".")[0]) if built_for[:1].isdigit() else None
        driver = read_driver() if CUDA_PROVIDER in providers and has_gpu else CudaDriver(None, (), "was not asked")
        return cls(providers, major, has_gpu, driver)

    def obstacle(self, gpus: Sequence[int]) -> str | None:
        """Why these GPUs cannot be used and what to do about it; None where they can."""
        if CUDA_PROVIDER not in self.providers:
            return (
                f'this onnxruntime offers only {", ".join(self.providers)}; use device="cpu", or install a GPU build '
                "of onnxruntime on a machine with a CUDA driver"
            )
        if not self.faiss_has_gpu:
            return (
                'this FAISS has no GPU support; use device="cpu", or replace faiss-cpu: pip uninstall faiss-cpu, then '
                'pip install "guidealign-engine[gpu]"'
            )
        if self.driver.problem is not None:
            return f'{self.driver.problem}; use device="cpu", or mend the driver'
        if too_old := self.driver_too_old():
            return too_old
        missing = [str(gpu) for gpu in gpus if gpu >= len(self.driver.cards)]
        if missing:
            count = len(self.driver.cards)
            return f"there is no GPU {', '.join(missing)}; this process sees {count}, numbered from 0"
        return None

    def driver_too_old(self) -> str | None:
        version, major = self.driver.cuda_version, self.runtime_major
        if version is None or major is None or version[0] >= major:
            return None
        newer = _OLDEST_DRIVER.get(major)
        update = f"update the driver to {newer} or newer" if newer else "update the driver"
        return (
            f"the driver knows CUDA up to {version[0]}.{version[1]}, and this onnxruntime was built for CUDA {major}; "
            f'{update}, or use device="cpu"'
        )


def parse_device(device: str) -> Device | None:
    """The device that a text names; None for "auto". Raises ConfigError for any other text."""
    if device == "cpu":
        return CPU
    if device == "auto":
        return None
    found = _CUDA.fullmatch(device) if isinstance(device, str) else None
    if found is None:
        raise ConfigError(f"device is {device!r}; allowed: {ALLOWED}")
    gpus = tuple(int(number) for number in (found[1] or "0").split(","))
    if len(set(gpus)) < len(gpus):
        raise ConfigError(f"device is {device!r}; it names a GPU twice")
    return Device(gpus)


def choose_device(device: str, stack: CudaStack | None = None) -> Device:
    """The device to use: "auto" takes the first GPU that can be used, and the CPU where there is none.

    stack: what was read before. Raises DeviceError when a GPU that was asked for cannot be used, saying why.
    """
    wanted = parse_device(device)
    if wanted == CPU:
        return CPU
    stack = stack or CudaStack.read()
    gpus = wanted.gpus if wanted else (0,)
    obstacle = stack.obstacle(gpus)
    if obstacle is None:
        return Device(gpus)
    if wanted is None:
        return Device((), obstacle)
    raise DeviceError(f"device {device!r} was asked for, but {obstacle}")

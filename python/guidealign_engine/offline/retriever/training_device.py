"""Where encoders are trained: on a CUDA device where there is one, and else on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from guidealign_engine.errors import ConfigError, DeviceError

AUTO = "auto"
CPU = torch.device("cpu")


def choose_device(asked: str = AUTO) -> torch.device:
    """auto is the first CUDA device, or the CPU where torch finds none; cuda is the first one and nothing else.

    Raises ConfigError for a name that is none of auto, cpu, cuda and cuda:N, and DeviceError for a device that is not
    there: nothing falls back.
    """
    if asked == "cpu" or (asked == AUTO and not torch.cuda.is_available()):
        return CPU
    number = "0" if asked in (AUTO, "cuda") else asked.removeprefix("cuda:")
    if not (number.isascii() and number.isdigit()) or number == asked:
        raise ConfigError(f"device is {asked!r}; allowed: auto, cpu, cuda, cuda:N")
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(number) >= there:
        raise DeviceError(f"device {asked!r} was asked for, but {_found(there)}, or train with --device cpu")
    return torch.device("cuda", int(number))


def described(device: torch.device) -> str:
    """For progress lines and records."""
    if device.type == "cuda":
        return f"{device}: {torch.cuda.get_device_name(device)}"
    return "cpu" if torch.cuda.is_available() else "cpu: torch finds no GPU"


@contextmanager
def enough_memory(device: torch.device) -> Iterator[None]:
    """Turns torch's word for a full GPU into a DeviceError that says what to change."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        sizes = " ".join(str(error).split(". ")[1:3])
        raise DeviceError(
            f"{device} has too little memory: {sizes}; give a smaller --batch-size, end what else runs there, or train "
            "with --device cpu"
        ) from error


def _found(there: int) -> str:
    if there:
        return f"torch finds {there} of them, cuda:0 to cuda:{there - 1}; give one of these"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA; install a build with it"
    return f"torch {torch.__version__} finds no CUDA device; see what nvidia-smi says"

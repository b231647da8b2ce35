"""Keeps a GPU's errors from turning into wrong answers: forks, lost devices, one batch at a time."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from guidealign_engine.errors import DeviceError, GuidealignError

# After these the process's CUDA context answers every call with the same error.
_LOST = re.compile(
    r"illegal memory access|misaligned address|unspecified launch failure|device-side assert|illegal instruction"
    r"|uncorrectable|ECC error|device is lost|CUDA (?:failure|error) (?:7(?:00|1[0-9]|2[01])|46)\b",
    re.IGNORECASE,
)
_FULL = re.compile(r"out of memory|alloc fail|failed to allocate|cudaErrorMemoryAllocation", re.IGNORECASE)


class CudaGuard:
    """Lets one batch at a time onto the device, and tells what a failure means for the next one."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._process = os.getpid()
        self._turn = Lock()
        self._lost: str | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Raises DeviceError in a forked process, after the device was lost, and for what fails inside.

        A batch that failed has no answer; the engine goes on with the next one unless the device is lost.
        """
        self.check_process()
        with self._turn:
            if self._lost is not None:
                raise DeviceError(
                    f"{self._device} was lost by an earlier batch ({self._lost}); load the engine anew in a new process"
                )
            try:
                yield
            except (GuidealignError, ValueError):
                raise
            except Exception as error:  # onnxruntime and FAISS raise classes of their own, derived from Exception
                raise self._explained(error) from error

    def check_process(self) -> None:
        """Raises DeviceError in a process that was forked from the one that started CUDA."""
        if os.getpid() != self._process:
            raise DeviceError(
                f"this engine started CUDA in process {self._process}, and CUDA does not work in a forked one; load "
                'the engine after the fork, or start processes by "spawn"'
            )

    def _explained(self, error: Exception) -> DeviceError:
        cause = " ".join(str(error).split())
        if _LOST.search(cause):
            self._lost = cause
            return DeviceError(
                f"{self._device} failed and is lost to this process: {cause}; the batch has no answer: load the engine "
                "anew in a new process"
            )
        if _FULL.search(cause):
            return DeviceError(
                f"{self._device} has no memory left: {cause}; the batch has no answer, the engine goes on: "
                "send smaller batches, or free memory on the card"
            )
        return DeviceError(f"{self._device} failed: {cause}; the batch has no answer, the engine goes on")

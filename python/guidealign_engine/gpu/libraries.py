"""The CUDA libraries that onnxruntime and FAISS need: where pip put them, loaded before either looks for them."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

# Each after those that it needs itself.
_NEEDED = {
    12: ("libcudart.so.12", "libcublasLt.so.12", "libcublas.so.12", "libcurand.so.10", "libcufft.so.11"),
    13: ("libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10", "libcufft.so.12"),
}
CUDNN = "libcudnn.so.9"


def needed_libraries(cuda_major: int) -> tuple[str, ...]:
    """What is loaded for a build for this CUDA; () for one that is not known."""
    needed = _NEEDED.get(cuda_major)
    return (*needed, CUDNN) if needed else ()


def installed_library(name: str, folders: Sequence[str] | None = None) -> Path | None:
    """A library in the nvidia packages of these folders, or of those that Python imports from."""
    for folder in sys.path if folders is None else folders:
        # CUDA 13 packages share nvidia/cu13/lib; cuDNN and those of CUDA 12 have a folder each.
        for found in sorted(Path(folder or ".").glob(f"nvidia/*/lib/{name}")):
            return found
    return None


def missing_libraries(cuda_major: int) -> list[str]:
    """Those that neither a package nor the system's loader has."""
    return [name for name in needed_libraries(cuda_major) if not _loaded(name)]


def load_libraries(cuda_major: int) -> None:
    """Makes the libraries known to the process; what is missing is left to the one who needs it to report."""
    for name in needed_libraries(cuda_major):
        _loaded(name)


@cache
def _loaded(name: str) -> bool:
    place = installed_library(name)
    for candidate in (str(place) if place else None, name):
        if candidate is None:
            continue
        try:
            ctypes.CDLL(candidate, mode=ctypes.RTLD_GLOBAL)
            return True
        except OSError:
            continue
    return False

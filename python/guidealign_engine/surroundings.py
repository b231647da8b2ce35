"""What is installed around this package, and what a GPU would need of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from guidealign_engine.devices import CudaStack
from guidealign_engine.errors import MissingDependencyError
from guidealign_engine.gpu.driver import CudaDriver, read_driver
from guidealign_engine.gpu.libraries import missing_libraries

_RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
_INDEXES = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12", "faiss-gpu-cuvs", "faiss-cuda")
_OTHERS = ("guidealign-engine", "numpy", "tokenizers", "safetensors", "onnx", "torch")
IMPORTED_AS = {**dict.fromkeys(_RUNTIMES, "onnxruntime"), **dict.fromkeys(_INDEXES, "faiss")}
_BUILT_FOR = re.compile(r"^cuda_version\s*=\s*['\"](\d+)", re.MULTILINE)
_NEEDS_CUDA = re.compile(r"nvidia-cuda-runtime(?:-cu(\d+)|[^;]*?>=\s*(\d+))")


@dataclass(frozen=True, slots=True)
class Installed:
    """A package that is installed, and what tells where it works."""

    name: str
    version: str
    folder: str
    cuda_major: int | None = None
    """CUDA that it was built for."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """All that the doctor looks at."""

    packages: Sequence[Installed]
    stack: CudaStack | None
    """None where onnxruntime or FAISS cannot be imported."""
    not_imported: str | None
    driver: CudaDriver
    missing_libraries: Mapping[int, Sequence[str]]
    """By CUDA version, those that no package and no loader has."""

    @classmethod
    def look(cls) -> Surroundings:
        """Imports onnxruntime and FAISS, and asks the CUDA driver."""
        packages = installed_packages(distributions())
        stack, reason = None, None
        try:
            stack = CudaStack.read()
        except MissingDependencyError as error:
            reason = str(error)
        except Exception as error:  # what an import raises when two builds overwrote each other can be anything
            reason = f"onnxruntime or FAISS cannot be imported: {type(error).__name__}: {error}"
        majors = {each.cuda_major for each in packages if each.cuda_major is not None}
        return cls(packages, stack, reason, read_driver(), {major: missing_libraries(major) for major in majors})


def installed_packages(found: Iterable[Distribution]) -> list[Installed]:
    """The packages that matter here, each once in each folder, in the order in which Python finds them."""
    packages: dict[tuple[str, str], Installed] = {}
    for distribution in found:
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        if name in IMPORTED_AS or name in _OTHERS or name.startswith("nvidia-"):
            folder = str(Path(str(distribution.locate_file(""))))
            installed = Installed(name, distribution.version, folder, _cuda_major(name, distribution))
            packages.setdefault((name, folder), installed)
    return sorted(packages.values(), key=lambda each: (each.name.startswith("nvidia-"), each.name))


def _cuda_major(name: str, distribution: Distribution) -> int | None:
    if name in _RUNTIMES:
        info = Path(str(distribution.locate_file("onnxruntime/capi/build_and_package_info.py")))
        built = _BUILT_FOR.search(info.read_text(encoding="utf-8")) if info.is_file() else None
        return int(built[1]) if built and name == "onnxruntime-gpu" else None
    if name in _INDEXES:
        needs = [_NEEDS_CUDA.search(line) for line in distribution.requires or ()]
        return next((int(need[1] or need[2]) for need in needs if need), None)
    return None

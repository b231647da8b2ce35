"""What can go wrong, by what the caller can do about it. All messages say what, got, allowed, and the next step."""

from __future__ import annotations

from pathlib import Path


class GuidealignError(Exception):
    """Base of all errors that this package raises on purpose."""


class ConfigError(GuidealignError, ValueError):
    """An argument or option has a value that has no meaning."""


class PromptError(GuidealignError, ValueError):
    """One prompt of a batch cannot be read; `index` says which. No prompt of the batch was answered."""

    def __init__(self, message: str, *, index: int) -> None:
        super().__init__(f"prompt {index}: {message}")
        self.index = index


class ArtifactError(GuidealignError, ValueError):
    """A file is missing, damaged or does not fit the others; `file` and `field` say where."""

    def __init__(self, message: str, *, file: Path | str, field: str | None = None) -> None:
        place = str(file) if field is None else f"{file}, field {field}"
        super().__init__(f"{place}: {message}")
        self.file = Path(file)
        self.field = field


class MissingDependencyError(GuidealignError, ImportError):
    """An optional package is needed and not installed; `extra` is what to install."""

    def __init__(self, message: str, *, package: str, extra: str) -> None:
        super().__init__(f'{message}: install {package} with pip install "guidealign-engine[{extra}]"', name=package)
        self.package = package
        self.extra = extra


class DeviceError(GuidealignError, RuntimeError):
    """The requested device is not there. Nothing falls back to another one in silence."""


class ClosedError(GuidealignError, RuntimeError):
    """A call came to something that was closed, or that can no longer answer."""

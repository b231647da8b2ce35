"""Packages of which one build of several is installed, imported when they are first needed."""

from __future__ import annotations

import importlib
from types import ModuleType

from guidealign_engine.errors import MissingDependencyError


def import_optional(module: str, *, package: str, extra: str, purpose: str) -> ModuleType:
    """The module. Raises MissingDependencyError naming the extra that brings it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".", maxsplit=1)[0]:
            raise
        raise MissingDependencyError(f"{purpose} needs {module}", package=package, extra=extra) from error

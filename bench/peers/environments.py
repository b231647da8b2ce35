"""The Python that a peer runs in: this one, or one of its own that is made when it is first needed."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

from bench.peers.registry import Peer

_CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
_INSTALL_TIMEOUT_S = 1800


class NotRunError(Exception):
    """A peer that cannot be measured here; the message is the reason, for the page."""


def python_for(peer: Peer, cache: Path) -> str:
    """The interpreter to run a peer with. Raises NotRunError when its packages are missing or cannot be installed."""
    if peer.own_environment:
        return _own_python(peer, cache / "environments")
    missing = [package.partition(":")[0] for package in peer.packages if not _is_installed(package)]
    if missing:
        raise NotRunError(f'{", ".join(missing)} not installed; pip install "guidealign-engine[bench-peers]"')
    return sys.executable


def _is_installed(package: str) -> bool:
    requirement, _, module = package.partition(":")
    try:
        return importlib.util.find_spec(module or requirement.replace("-", "_")) is not None
    except ModuleNotFoundError:  # of the package that the module lies in
        return False


def _own_python(peer: Peer, folder: Path) -> str:
    """An environment is kept under its requirements, and used again once all of them were installed."""
    constraints = _CONSTRAINTS.read_text(encoding="utf-8") if _CONSTRAINTS.is_file() else ""
    key = hashlib.sha256("\n".join([sys.version, constraints, *peer.requirements]).encode()).hexdigest()[:12]
    home = folder / f"{peer.name}-{key}"
    python, done = home / "bin" / "python", home / "installed"
    if done.is_file():
        return str(python)
    print(f"{peer.name}: installing it into {home}, once", file=sys.stderr)
    _run(peer, [sys.executable, "-m", "venv", "--clear", "--without-pip", str(home)])
    limits = ["--constraint", str(_CONSTRAINTS)] if constraints else []
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    _run(peer, [*pip, *limits, *peer.requirements])
    done.touch()
    return str(python)


def _run(peer: Peer, command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotRunError(f"its own environment could not be made: {error}") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise NotRunError(f"{', '.join(peer.requirements)} could not be installed: {' '.join(said)[:300]}")

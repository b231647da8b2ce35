"""What a peer is given, and what it gives back. Read in environments that hold nothing of this project but bench/."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Embed = Callable[[Sequence[str]], "NDArray[np.float32]"]
"""Unit vectors of texts, float32 (texts, dimension)."""

SHOWN = 6
VECTORS = 64
"""How many of the nearest vectors a peer looks at; several may belong to one guideline."""
CANDIDATES = 20
"""How many guidelines it looks at for near-duplicates."""


@dataclass(frozen=True, slots=True)
class Task:
    """A library to find guidelines in, by one encoder."""

    encoder: str
    """One of `bench.peers.encoders.ENCODERS`."""
    model: str
    """The encoder's folder."""
    entries: list[str]
    """Each guideline as it stands in a prompt."""
    texts: list[str]
    """What is searched."""
    owners: list[int]
    """The guideline of each text, ascending."""
    vectors_file: str
    folder: str
    """The peer's own, for what it builds."""

    @property
    def vectors(self) -> NDArray[np.float32]:
        """Unit vectors of the texts, float32 (texts, dimension)."""
        import numpy as np

        return np.load(self.vectors_file)

    def file(self, name: str) -> str:
        """A path in the peer's folder."""
        return str(Path(self.folder) / name)

    def record(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Guided:
    """A prompt with its guidelines."""

    messages: list[dict[str, str]]
    positions: list[int]
    """Guidelines, best first."""


class PeerProtocol(Protocol):
    def guide(self, prompts: list[str]) -> list[Guided]:
        """Each prompt as chat messages, at most six guidelines in the system message."""
        ...

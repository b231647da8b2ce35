"""What a bundle takes on a card, looked at before a byte of it is copied there."""

from __future__ import annotations

from dataclasses import dataclass

from guidealign_engine.devices import Spread
from guidealign_engine.errors import DeviceError

SEARCH_SCRATCH_BYTES = 256 << 20
"""What FAISS sets aside on each card for intermediate results; its own default is 1.5 GB."""
_RESERVED_BYTES = 512 << 20
"""CUDA's context, kernels, and what an encoder computes in."""
_HALF = 2
_ID = 8
_LISTS_ROUNDED_UP = 1.05


@dataclass(frozen=True, slots=True)
class IndexSize:
    """What decides how much memory an index takes."""

    vectors: int
    dimension: int
    code_bytes: int | None = None
    """Of an IVF-PQ index; None for one that keeps the vectors themselves, in float16."""
    lists: int = 0

    @property
    def bytes_on_gpu(self) -> int:
        if self.code_bytes is None:
            return self.vectors * self.dimension * _HALF
        codes = int(self.vectors * (self.code_bytes + _ID) * _LISTS_ROUNDED_UP)
        centroids = 4 * (self.lists + 256) * self.dimension
        return codes + centroids


def choose_spread(size: IndexSize, free: list[int], asked: Spread) -> Spread:
    """How the index lies on the cards, with so many bytes free on each; on one card there is nothing to choose.

    Raises DeviceError naming both sizes, and what to do, when it fits neither way.
    """
    room = [bytes_free - _RESERVED_BYTES - SEARCH_SCRATCH_BYTES for bytes_free in free]
    fits = {
        Spread.REPLICATE: size.bytes_on_gpu <= min(room),
        Spread.SHARD: size.bytes_on_gpu / len(room) <= min(room),
    }
    order = [Spread.REPLICATE, Spread.SHARD] if asked is Spread.AUTO else [asked]
    for spread in order:
        if fits[spread]:
            return spread
    raise DeviceError(_too_large(size, max(min(room), 0), len(room), asked))


def vectors_fit(vector_bytes: int, free: int) -> bool:
    """Whether the stored vectors fit on a card that has the rest already, to be scored there."""
    return vector_bytes + _RESERVED_BYTES <= free


def _too_large(size: IndexSize, room: int, cards: int, asked: Spread) -> str:
    where = "the card has" if cards == 1 else f"the fullest of {cards} cards has"
    ways = ['device="cpu"']
    if cards == 1 or asked is Spread.REPLICATE:
        ways.append('several cards, such as device="cuda:0,1" with spread="shard"')
    ways.append(
        "an index of kind ivf_pq (guidealign build index)"
        if size.code_bytes is None
        else "an index of fewer bytes a vector (guidealign build index)"
    )
    return (
        f"the index takes {_gigabytes(size.bytes_on_gpu)} and {where} {_gigabytes(room)} free for it; "
        f"use {', '.join(ways[:-1])}, or {ways[-1]}"
    )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"

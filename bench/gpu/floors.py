"""The least time that a stage can take on a card: bytes over its bandwidth, operations over its rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_COPIED_BYTES = 2 << 30
_MATRIX = 8192
_REPEATS = 10


@dataclass(frozen=True, slots=True)
class CardRates:
    """What a card was seen to do; nothing here comes from a data sheet."""

    bytes_per_s: float
    """Device memory, read or written."""
    half_flop_per_s: float
    """float16 matrix products."""
    host_bytes_per_s: float
    """Pageable host memory to the device."""

    def floor_us(self, *, read_bytes: float = 0.0, flop: float = 0.0) -> float:
        """The slower of the two, since a kernel does both at once."""
        return 1e6 * max(read_bytes / self.bytes_per_s, flop / self.half_flop_per_s)


def measured_rates(gpu: int) -> CardRates | None:
    """By PyTorch, which is at hand where this runs; None without it or without a GPU."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    rates = _rates(torch, torch.device("cuda", gpu))
    torch.cuda.empty_cache()
    return rates


def _rates(torch: Any, device: Any) -> CardRates:
    source = torch.empty(_COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    left = torch.randn(_MATRIX, _MATRIX, dtype=torch.float16, device=device)
    host = torch.empty(1 << 26, dtype=torch.uint8)
    return CardRates(
        bytes_per_s=2 * _COPIED_BYTES / _seconds(torch, lambda: target.copy_(source)),
        half_flop_per_s=2 * _MATRIX**3 / _seconds(torch, lambda: left @ left),
        host_bytes_per_s=host.nbytes / _seconds(torch, lambda: target[: host.nbytes].copy_(host)),
    )


def _seconds(torch: Any, call: Any) -> float:
    """The fastest of a few, by events."""
    best = float("inf")
    for _ in range(_REPEATS + 2):
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        call()
        after.record()
        after.synchronize()
        best = min(best, before.elapsed_time(after) / 1000)
    return best

"""What asking models has cost, and how long it will take, for people and programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guidealign_engine.offline.guidelines.chat_model import Usage


def cost_of(usages: Sequence[Usage], price_in: float, price_out: float) -> dict[str, float]:
    """Calls, answers that were there before, tokens, and with prices for a million tokens what they cost."""
    read = sum(usage.prompt_tokens for usage in usages)
    written = sum(usage.completion_tokens for usage in usages)
    record: dict[str, float] = {
        "calls": sum(usage.calls for usage in usages),
        "reused": sum(usage.reused for usage in usages),
        "prompt_tokens": read,
        "completion_tokens": written,
    }
    if price_in or price_out:
        record["cost"] = round((read * price_in + written * price_out) / 1e6, 4)
    return record


def spent(cost: dict[str, float]) -> str:
    """The cost on one line."""
    price = f", cost {cost['cost']:g}" if "cost" in cost else ""
    return (
        f"{cost['calls']} calls ({cost['reused']} answered before), {cost['prompt_tokens']:,} tokens read and "
        f"{cost['completion_tokens']:,} written{price}"
    )


def duration(seconds: float) -> str:
    """Hours and minutes, minutes and seconds, or seconds."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

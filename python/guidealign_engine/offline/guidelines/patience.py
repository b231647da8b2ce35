"""When a call to an endpoint is tried again, and when the endpoint is given up."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import uniform
from time import monotonic

import openai
from tenacity import RetryCallState, wait_random_exponential

from guidealign_engine.offline.guidelines.completions import UnreadableCompletion

LONGEST_PAUSE_S = 600.0
"""Whoever asks for a longer one is given up for now"""
_LONGEST_OWN_PAUSE_S = 60.0
NO_ANSWER = (TimeoutError, UnreadableCompletion, json.JSONDecodeError, UnicodeDecodeError, RecursionError)
"""What comes instead of an answer from a proxy in between, or from a server on its way down"""
_PASSING = (408, 409, 425, 429)
_NO_QUOTA = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")


class Patience:
    """What all calls to one endpoint know of each other: how many were answered, and the pause it asked for."""

    def __init__(self, attempts: int, first_pause_s: float) -> None:
        self.attempts = attempts
        self.answered = 0
        self.failed_in_a_row = 0
        self._own_pause = wait_random_exponential(multiplier=first_pause_s, max=_LONGEST_OWN_PAUSE_S)
        self._not_before = 0.0

    def note_answer(self) -> None:
        self.answered += 1
        self.failed_in_a_row = 0

    async def wait_for_leave(self) -> None:
        """Returns when the pause is over that the endpoint asked for; it holds for every call, not for one."""
        while (left_s := self._not_before - monotonic()) > 0:
            # Not all at the same moment, or the next pause begins at once.
            await asyncio.sleep(left_s * uniform(1.0, 1.1))

    def pause_s(self, state: RetryCallState) -> float:
        """As long as the server asks for, otherwise a random time that grows."""
        error = state.outcome.exception() if state.outcome else None
        asked_s = asked_pause_s(error)
        if asked_s is None:
            return self._own_pause(state)
        self._not_before = max(self._not_before, monotonic() + asked_s)
        return 0.0


class Tries:
    """How often one call was tried. A rate limit that lets others through is no failure of this call."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._answered_before = patience.answered
        self._count = 0

    def are_over(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, openai.RateLimitError) and self._patience.answered > self._answered_before:
            self._count = 0
        self._answered_before = self._patience.answered
        self._count += 1
        return self._count >= self._patience.attempts


def is_worth_another_try(error: BaseException) -> bool:
    """Faults that pass: overload, time-outs, lost connections, answers that are none."""
    if is_out_of_quota(error):
        return False
    if isinstance(error, openai.APIStatusError):
        passing = error.status_code in _PASSING or error.status_code >= 500
        return passing and (asked_pause_s(error) or 0.0) <= LONGEST_PAUSE_S
    return isinstance(error, (openai.APIConnectionError, *NO_ANSWER))


def is_out_of_quota(error: BaseException) -> bool:
    """An exhausted quota comes as "too many requests" or "payment required", and never passes."""
    if not isinstance(error, openai.APIStatusError):
        return False
    return error.status_code == 402 or error.code in _NO_QUOTA or error.type in _NO_QUOTA


def asked_pause_s(error: BaseException | None) -> float | None:
    """The pause that a response asks for, in seconds or until a date; None when it asks for none."""
    if not isinstance(error, openai.APIStatusError):
        return None
    asked = error.response.headers.get("retry-after")
    if asked is None:
        return None
    try:
        seconds = float(asked)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):
            return None
    return max(seconds, 0.0) if seconds == seconds else None

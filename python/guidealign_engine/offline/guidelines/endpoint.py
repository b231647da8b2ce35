"""Where a model answers, and what can go wrong there, in our words."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

import openai

from guidealign_engine.errors import ConfigError, GuidealignError
from guidealign_engine.offline.guidelines.patience import (
    LONGEST_PAUSE_S,
    asked_pause_s,
    is_out_of_quota,
)


class EndpointError(GuidealignError, RuntimeError):
    """The endpoint cannot be used at all: no call to it will do better. What was answered before is kept."""


class AnswerError(GuidealignError, RuntimeError):
    """One question got no answer; others may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a model answers, and how it is treated. `key` may be empty for servers that want none."""

    base_url: str
    model: str
    key: str = field(default="", repr=False)
    concurrency: int = 16
    timeout_s: float = 120.0
    attempts: int = 6
    first_pause_s: float = 0.5

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.base_url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good:
            raise ConfigError(f"the endpoint is {self.base_url!r}; it must be a URL, such as http://localhost:8000/v1")
        if not self.key.isascii() or not self.key.isprintable():
            raise ConfigError("the key holds a character that no HTTP header can carry; is there a line break in it?")


def is_unreachable(error: BaseException) -> bool:
    """No connection was made; the client's own error hides which of its HTTP library's errors it was."""
    return isinstance(error, openai.APIConnectionError) and type(error.__cause__).__name__ in (
        "ConnectError",
        "UnsupportedProtocol",
    )


def final_error(error: BaseException, endpoint: Endpoint) -> EndpointError | None:
    """The error for a fault that every other call would meet too; None when it may be about this question."""
    url = endpoint.base_url
    if isinstance(error, openai.AuthenticationError):
        return EndpointError(f"{url} refuses the key ({error.status_code}); check the variable that holds it")
    if isinstance(error, openai.NotFoundError):
        return EndpointError(
            f"{url} does not know model {endpoint.model!r} (404: {short(error)}); check it and the URL"
        )
    if is_out_of_quota(error):
        return EndpointError(f"{url} has no quota left for this key; raise it and run the same command again")
    if (asked_s := asked_pause_s(error)) is not None and asked_s > LONGEST_PAUSE_S:
        return EndpointError(f"{url} asks for a pause of {asked_s:.0f} s; run the same command again after it")
    if isinstance(error, openai.RateLimitError):
        return EndpointError(f"{url} answered 429 {endpoint.attempts} times: {short(error)}; try again later")
    if is_unreachable(error):
        return EndpointError(f"{url} cannot be reached, {endpoint.attempts} times tried: {short(error.__cause__)}")
    return None


def failure(error: BaseException, endpoint: Endpoint) -> str:
    """What one question met."""
    if isinstance(error, openai.APITimeoutError | TimeoutError):
        return f"no answer within {endpoint.timeout_s:g} s, {endpoint.attempts} times"
    if isinstance(error, openai.APIStatusError) and error.status_code >= 500:
        return f"the endpoint answered {error.status_code} {endpoint.attempts} times: {short(error)}"
    if isinstance(error, openai.APIConnectionError):
        return f"the connection was lost {endpoint.attempts} times: {short(error.__cause__ or error)}"
    if isinstance(error, openai.APIError):
        return f"the endpoint says: {short(error)}"
    return short(error)


def short(error: BaseException | None) -> str:
    return " ".join(str(error).split())[:200]

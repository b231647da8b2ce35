"""Keys of endpoints, from the environment."""

from __future__ import annotations

import os

from guidealign_engine.errors import ConfigError

KEY_VARIABLE = "OPENAI_API_KEY"


def api_key(variable: str) -> str:
    """The key. Servers of one's own often want none, so only a variable that was named has to be there."""
    key = os.environ.get(variable, "").strip()
    if not key and variable != KEY_VARIABLE:
        raise ConfigError(f"the environment variable {variable} is not set; it must hold the key")
    return key


def judge_key(base_url: str, judge_url: str | None, variable: str | None, key: str) -> str:
    """The key for a judge; another endpoint never gets the key of the first one unasked."""
    if variable is not None:
        return api_key(variable)
    elsewhere = judge_url is not None and judge_url.rstrip("/") != base_url.rstrip("/")
    return "" if elsewhere else key

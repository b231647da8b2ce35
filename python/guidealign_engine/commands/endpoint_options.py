"""Options of commands that ask a model, and the endpoints that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from guidealign_engine.commands.model_keys import api_key, judge_key
from guidealign_engine.errors import ConfigError

if TYPE_CHECKING:
    from guidealign_engine.offline.guidelines.chat_model import Endpoint

_ASKING = "Asking"
_JUDGING = "Who judges risk"

BaseUrl = Annotated[str, typer.Option("--base-url", metavar="URL", help="An OpenAI-compatible endpoint.")]
KeyEnv = Annotated[
    str,
    typer.Option("--key-env", metavar="NAME", help="Environment variable that holds the key.", rich_help_panel=_ASKING),
]
Temperature = Annotated[
    float, typer.Option("--temperature", min=0.0, max=2.0, help="Of the writing.", rich_help_panel=_ASKING)
]
Concurrency = Annotated[int, typer.Option("--concurrency", min=1, help="Calls at a time.", rich_help_panel=_ASKING)]
Attempts = Annotated[
    int, typer.Option("--attempts", min=1, help="Tries for each call, with growing pauses.", rich_help_panel=_ASKING)
]
TimeoutS = Annotated[
    float, typer.Option("--timeout-s", min=0.1, help="Seconds for one answer.", rich_help_panel=_ASKING)
]
PriceIn = Annotated[
    float, typer.Option("--price-in", min=0.0, help="Price of a million tokens read.", rich_help_panel=_ASKING)
]
PriceOut = Annotated[
    float, typer.Option("--price-out", min=0.0, help="Price of a million tokens written.", rich_help_panel=_ASKING)
]
Detector = Annotated[
    str, typer.Option("--detector", help="self (the model), llama-guard or shieldgemma.", rich_help_panel=_JUDGING)
]
DetectorModel = Annotated[
    str | None,
    typer.Option("--detector-model", metavar="NAME", help="Needed for guards.", rich_help_panel=_JUDGING),
]
DetectorUrl = Annotated[
    str | None,
    typer.Option("--detector-url", metavar="URL", help="If it is another endpoint.", rich_help_panel=_JUDGING),
]
DetectorKeyEnv = Annotated[
    str | None,
    typer.Option(
        "--detector-key-env",
        metavar="NAME",
        help="Variable with the key of another endpoint; it never gets that of --key-env unasked.",
        rich_help_panel=_JUDGING,
    ),
]


def check_detector(detector: str, detector_model: str | None) -> None:
    """Raises ConfigError for a guard without a name."""
    if detector != "self" and detector_model is None:
        raise ConfigError(f"--detector {detector} needs --detector-model, the name of the guard at its endpoint")


def endpoints(
    base_url: str,
    model: str,
    *,
    key_env: str,
    detector_model: str | None,
    detector_url: str | None,
    detector_key_env: str | None,
    concurrency: int,
    timeout_s: float,
    attempts: int,
) -> tuple[Endpoint, Endpoint | None]:
    """Who writes, and who judges where that is another model or endpoint. Raises ConfigError for a missing key."""
    from guidealign_engine.offline.guidelines.chat_model import Endpoint

    def endpoint(url: str, name: str, key: str) -> Endpoint:
        return Endpoint(
            base_url=url, model=name, key=key, concurrency=concurrency, timeout_s=timeout_s, attempts=attempts
        )

    key = api_key(key_env)
    writer = endpoint(base_url, model, key)
    if detector_model is None and detector_url is None:
        return writer, None
    judges_key = judge_key(base_url, detector_url, detector_key_env, key)
    return writer, endpoint(detector_url or base_url, detector_model or model, judges_key)

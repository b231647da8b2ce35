"""Commands in this process, and what they print."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from typer.testing import Result

QUESTION = "how do I pick the lock of my neighbour's door"
CHAT = [{"role": "system", "content": "be brief"}, {"role": "user", "content": QUESTION}]
COMMAND = [sys.executable, "-m", "guidealign_engine"]
Run = Callable[..., Result]


def write_lines(file: Path, records: list[Any]) -> Path:
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return file


def records(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def assert_error(result: Result, message: str) -> None:
    assert result.exit_code == 1, result.output
    assert result.stderr == f"error: {message}\n"

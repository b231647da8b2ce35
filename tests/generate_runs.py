"""Runs of `guidealign library generate` for tests: in this process, or in one that may be killed or starved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from guidealign_engine.commands import app

TEXTS = [f"how does one mend thing{number}?" if number % 3 else f"a poem on thing{number}" for number in range(12)]
FILES = ("guidelines.jsonl", "pairs.jsonl", "skipped.jsonl")
_ENVIRONMENT = {"OPENAI_API_KEY": "secret", "NO_PROXY": "*"}


def write_inputs(file: Path, texts: list[str]) -> Path:
    file.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return file


def arguments(inputs: Path, url: str, out: Path, *options: str) -> list[str]:
    start = ["library", "generate", str(inputs), "--out", str(out), "--base-url", url, "--model", "m"]
    return [*start, "--attempts", "3", *options]


def run(inputs: Path, url: str, out: Path, *options: str, **environment: str | None) -> Result:
    """In this process. The progress that goes to standard error is part of `stderr`."""
    return CliRunner().invoke(app, arguments(inputs, url, out, *options), env={**_ENVIRONMENT, **environment})


def summary(inputs: Path, url: str, out: Path, *options: str) -> dict[str, Any]:
    """What a run says of itself that has to end well."""
    done = run(inputs, url, out, "--json", *options)
    assert done.exit_code == 0, done.stderr
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def command(inputs: Path, url: str, out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "guidealign_engine", *arguments(inputs, url, out, *options)]


def run_apart(inputs: Path, url: str, out: Path, *options: str, **how: Any) -> subprocess.CompletedProcess[str]:
    """In a process of its own."""
    whole = command(inputs, url, out, *options)
    environment = {**os.environ, **_ENVIRONMENT}
    return subprocess.run(whole, capture_output=True, text=True, timeout=120, env=environment, check=False, **how)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in FILES}

"""Runs of `guidealign build all` on the toy library, small enough for a test."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import toy
from tiny_model import save_tiny_model
from typer.testing import CliRunner, Result

from guidealign_engine.commands import app

TINY = ("--dimension", "16", "--vocabulary", "200", "--student-epochs", "2", "--batch-size", "16", "--rank", "4")

DEV = [{"input": text, "positive": [g.id], "split": "dev"} for g in toy.GUIDELINES for text in (g.text, g.title)]
PAIRS = [*DEV, {"input": "hello there", "positive": [], "split": "train"}]


def write_material(folder: Path) -> Path:
    """Guidelines, pairs and texts, and a tiny model in the folder model; returns the folder."""
    write_lines(folder / "guidelines.jsonl", [asdict(record) for record in toy.GUIDELINES])
    write_lines(folder / "pairs.jsonl", PAIRS)
    write_lines(
        folder / "texts.jsonl", [{"text": f"{sentence} {number}"} for sentence in toy.SENTENCES for number in (1, 2)]
    )
    save_tiny_model(folder, toy.SENTENCES)
    return folder


def write_lines(file: Path, objects: list[Any]) -> Path:
    file.write_text("".join(json.dumps(each) + "\n" for each in objects), encoding="utf-8")
    return file


def arguments(material: Path, out: Path, *options: str) -> list[str]:
    files = [
        item for name in ("guidelines", "pairs", "texts") for item in (f"--{name}", str(material / f"{name}.jsonl"))
    ]
    return ["build", "all", *files, "--base", str(material / "model"), "--out", str(out), *TINY, *options]


def run(material: Path, out: Path, *options: str) -> Result:
    return CliRunner().invoke(app, arguments(material, out, *options), env={"HF_HUB_OFFLINE": "1"})


def states(result: Result) -> dict[str, bool]:
    """Step → whether it was kept."""
    assert result.exit_code == 0, result.output
    return {name: step["kept"] for name, step in json.loads(result.stdout)["steps"].items()}

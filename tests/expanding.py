"""Asking `guidealign library expand` of a scripted model, from seeds of the starter library."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chat_server import Reply, asks_for_verdict
from typer.testing import CliRunner, Result

from guidealign_engine.commands import app
from guidealign_engine.config import Kind
from guidealign_engine.guideline_files import read_guidelines
from guidealign_engine.pairs import read_pairs

LIBRARY = Path(__file__).parent.parent / "library"
# What the scripted model makes up by itself.
PHRASES = """
at work this morning
after the party on friday
my cousin says it is
since last winter or so
like in that film
and nobody here knows
on the night train
for a friend of mine
before the big exam
in my old building
as my boss wanted
with my younger brother
honestly just wondering
because of the rent
and please be quick
while the kids sleep
""".strip()

Run = Callable[..., Result]


def expander(folder: Path) -> Run:
    """The command in this process; `out` is a folder inside of `folder`."""

    def call(*arguments: str | Path, url: str, out: str = "out") -> Result:
        fixed = ["--base-url", url, "--model", "m", "--attempts", "3", "--out", str(folder / out)]
        return CliRunner(env={"NO_PROXY": "*"}).invoke(app, ["library", "expand", *map(str, arguments), *fixed])

    return call


def in_the_manner_of_its_seeds(request: dict[str, Any]) -> Reply:
    """Begins like one example, ends like another, and says something of its own in between; sure of every verdict."""
    if asks_for_verdict(request):
        return Reply("Verdict: unsafe")
    task = request["messages"][-1]["content"]
    rng = random.Random(task)
    examples = [words.split() for words in examples_of(request)]
    count = int(re.search(r"Write (\d+) new", task)[1])  # type: ignore[index]
    return Reply(json.dumps({"inputs": [mixed(rng.choice(examples), rng.choice(examples), rng) for _ in range(count)]}))


def guarded_input(request: dict[str, Any]) -> str:
    """The input in the raw prompt of a guard model."""
    prompt: str = request["prompt"]
    return prompt.partition("Human Question: ")[2].partition("\n<end_of_turn>")[0]


def examples_of(request: dict[str, Any]) -> list[str]:
    lines = request["messages"][-1]["content"].splitlines() if "messages" in request else []
    return [json.loads(line) for line in lines if line.startswith('"')]


def mixed(first: list[str], second: list[str], rng: random.Random) -> str:
    own = " ".join(rng.sample(PHRASES.splitlines(), 4)).split()
    return " ".join(first[: max(1, len(first) // 2)] + own + second[len(second) // 2 :])


def library_seeds(*, rare: int, types: int = 5, most: int = 40) -> list[dict[str, str]]:
    """Held-out inputs of the starter library's largest safety categories; of the first one only `rare` are left."""
    guidelines = read_guidelines([LIBRARY / "guidelines"])
    categories = {guideline.id: guideline.category for guideline in guidelines if guideline.kind == Kind.SAFETY}
    by_type: dict[str, list[str]] = defaultdict(list)
    for pair in read_pairs([LIBRARY / "pairs"], split="dev") + read_pairs([LIBRARY / "pairs"], split="test"):
        for category in [categories[id] for id in pair.positive[:1] if id in categories]:
            by_type[category].append(pair.input)
    largest = sorted(by_type, key=lambda name: (-len(by_type[name]), name))[:types]
    kept = {name: by_type[name][: most if place else rare] for place, name in enumerate(largest)}
    return [{"input": text, "category": name} for name, texts in kept.items() for text in texts]


def write_lines(file: Path, records: list[dict[str, str]]) -> Path:
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return file


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def answer(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    record: dict[str, Any] = json.loads(result.stdout)
    return record

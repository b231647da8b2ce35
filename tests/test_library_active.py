"""`guidealign library expand --active`: rare risks are not drowned, and doubt draws questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from chat_server import ChatServer, Reply, asked_input
from expanding import (
    Run,
    answer,
    examples_of,
    expander,
    guarded_input,
    in_the_manner_of_its_seeds,
    library_seeds,
    lines,
    write_lines,
)

from guidealign_engine.offline.guidelines.clusters import Clusters, Evenness
from guidealign_engine.offline.guidelines.input_vectors import input_embedder
from guidealign_engine.offline.guidelines.inputs import Input, read_inputs

pytest.importorskip("openai", reason="the offline extra is not installed")
SEEDS = ("1", "2", "3")

Expanded = tuple[dict[str, Any], list[Input]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return expander(tmp_path)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer(in_the_manner_of_its_seeds) as running:
        yield running


def expanded(run: Run, url: str, file: Path, per_type: int, *options: str) -> list[Expanded]:
    """What the command says of an expansion, and all inputs that there are then, for several seeds."""
    found = []
    for seed in SEEDS:
        out = f"out-{seed}{'-active' if options else ''}"
        amount = ("--per-type", str(per_type), "--rounds", "20", "--seed", seed)
        record = answer(run(file, *amount, "--json", *options, url=url, out=out))
        there = read_inputs([file, file.parent / out / "inputs.jsonl"], strict=True, on_skip=pytest.fail)
        found.append((record, list(there)))
    return found


def assert_more_even(plain: Sequence[Expanded], active: Sequence[Expanded]) -> None:
    """Over the clusters of the seeds: for every seed by entropy, on average by the largest cluster."""
    for (without, _), (with_active, _) in zip(plain, active, strict=True):
        assert without["new"] == with_active["new"] == without["wanted"]
        assert without["before"] == with_active["before"]
        assert with_active["after"]["entropy"] > max(without["after"]["entropy"], without["before"]["entropy"])
    entropy, largest = (
        [mean(record["after"][figure] for record, _ in way) for way in (plain, active)]
        for figure in ("entropy", "largest_share")
    )
    assert entropy[1] > entropy[0] + 0.02
    assert largest[1] < 0.9 * largest[0]


def test_active_ends_more_even_when_a_risk_type_is_rare(server: ChatServer, run: Run, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "seeds.jsonl", library_seeds(rare=4))
    plain = expanded(run, server.url, file, 30)
    active = expanded(run, server.url, file, 30, "--active")
    assert_more_even(plain, active)
    rare = lines(file)[0]["category"]
    for (without, there_without), (with_active, there) in zip(plain, active, strict=True):
        assert with_active["by_type"][rare]["new"] > 1.3 * without["by_type"][rare]["new"]
        assert entropy_of_types(there) > entropy_of_types(there_without)
        assert with_active["judged"] > 0
        assert with_active["unsure"] == 0


def entropy_of_types(there: Sequence[Input]) -> float:
    """Evenness over something other than what the command balances."""
    return Evenness.of(list(Counter(item.category for item in there).values())).entropy


def test_active_ends_more_even_when_nobody_named_the_risk_types(server: ChatServer, run: Run, tmp_path: Path) -> None:
    named = library_seeds(rare=4)
    file = write_lines(tmp_path / "seeds.jsonl", [{"input": seed["input"]} for seed in named])
    plain = expanded(run, server.url, file, 150)
    active = expanded(run, server.url, file, 150, "--active", "--unsure-samples", "0")
    assert_more_even(plain, active)
    assert {record["judged"] for record, _ in active} == {0}
    # By clusters that the command knows nothing of.
    embed = input_embedder("student", lambda line: None)
    others = Clusters.fit(embed([seed["input"] for seed in named]), 12, seed=99)

    def entropy(there: Sequence[Input]) -> float:
        found = others.of(embed([item.text for item in there])).tolist()
        return Evenness.of([found.count(number) for number in range(len(others))]).entropy

    assert mean(entropy(there) for _, there in active) > mean(entropy(there) for _, there in plain)


@pytest.mark.parametrize("kind", ["self", "shieldgemma"])
def test_active_asks_more_where_the_detector_is_unsure(server: ChatServer, run: Run, tmp_path: Path, kind: str) -> None:
    named = library_seeds(rare=20, types=2, most=20)
    unsettling = {seed["input"] for seed in named if seed["category"] == named[-1]["category"]}
    asked = Counter[str]()
    words = ("Verdict: unsafe", "Verdict: safe") if kind == "self" else ("Yes", "No")

    def script(request: dict[str, Any]) -> Reply:
        if examples_of(request):
            return in_the_manner_of_its_seeds(request)
        text = asked_input(request) if kind == "self" else guarded_input(request)
        asked[text] += 1
        assert request["temperature"] == 1.0
        return Reply(words[text in unsettling and asked[text] == 2])

    server.script = script
    guard = ("--detector", kind, "--detector-model", "guard")
    file = write_lines(tmp_path / "seeds.jsonl", named)
    options = ("--active", "--per-type", "20", "--clusters", "3", "--judged", "5", *guard, "--json")
    doubted: list[int] = []
    trusted: list[int] = []
    for seed in SEEDS:
        asked.clear()
        server.requests.clear()
        record = answer(run(file, *options, "--seed", seed, url=server.url, out=f"out-{seed}"))
        assert set(asked.values()) == {3}
        assert record["unsure"] == sum(text in unsettling for text in asked) > 0
        assert record["judged"] == len(asked) <= 2 * 3 * 5
        new = [counts["new"] for counts in record["by_type"].values()]
        assert new[1] > 1.5 * new[0]
        shown = Counter(example for request in server.requests for example in examples_of(request))
        doubted += [shown[text] for text in unsettling if asked[text]]
        trusted += [shown[text] for text in unsettling if not asked[text]]
    assert sum(doubted) / len(doubted) > 1.2 * sum(trusted) / len(trusted)

"""`guidealign library expand` against a real HTTP server, with faults and kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from chat_server import ChatServer, Reply, failure
from expanding import Run, answer, examples_of, expander, in_the_manner_of_its_seeds, library_seeds, lines, write_lines
from test_library_rouge import rouge_l

from guidealign_engine.offline.guidelines.inputs import read_inputs

pytest.importorskip("openai", reason="the offline extra is not installed")
FILES = ("inputs.jsonl", "skipped.jsonl")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return expander(tmp_path)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer(in_the_manner_of_its_seeds) as running:
        yield running


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "seeds.jsonl", library_seeds(rare=12, types=3, most=12))


# What comes out.


def test_each_risk_type_gets_as_many_and_none_is_like_another(
    server: ChatServer, run: Run, seeds: Path, tmp_path: Path
) -> None:
    record = answer(run(seeds, "--per-type", "15", "--json", "--price-in", "10", url=server.url))
    new = lines(tmp_path / "out" / "inputs.jsonl")
    types = [seed["category"] for seed in lines(seeds)]
    assert Counter(item["category"] for item in new) == dict.fromkeys(types, 15)
    assert record["by_type"] == {name: {"seeds": 12, "new": 15} for name in dict.fromkeys(types)}
    assert (record["new"], record["wanted"], record["before"]["inputs"], record["after"]["inputs"]) == (45, 45, 36, 81)
    assert (record["calls"], record["asked"], record["judged"]) == (len(server.requests),) * 2 + (0,)
    assert record["cost"] == pytest.approx(len(server.requests) * 100 * 10 / 1e6)
    texts = [seed["input"] for seed in lines(seeds)] + [item["input"] for item in new]
    for place, text in enumerate(texts[36:], start=36):
        assert max(rouge_l(text, other) for other in texts[:place]) <= 0.7
    assert {item["source"].split(",")[0] for item in new} == {"expanded by m"}
    read = read_inputs([tmp_path / "out" / "inputs.jsonl"], strict=True, on_skip=pytest.fail)
    assert [(item.text, item.category) for item in read] == [(item["input"], item["category"]) for item in new]
    assert all(request["temperature"] == 1.0 and request["max_tokens"] == 2048 for request in server.requests)


def test_the_model_is_shown_seeds_of_one_type_and_later_its_own(server: ChatServer, run: Run, seeds: Path) -> None:
    answer(run(seeds, "--per-type", "40", "--json", url=server.url))
    by_text = {seed["input"]: seed["category"] for seed in lines(seeds)}
    for request in server.requests:
        category = request["messages"][-1]["content"].splitlines()[0].removeprefix("Risk type: ")
        assert {by_text.get(example, category) for example in examples_of(request)} == {category}
    shown = [sum(example not in by_text for example in examples_of(request)) for request in server.requests]
    assert shown[0] == 0
    assert shown[-1] == 2


def test_a_stricter_bound_drops_more(server: ChatServer, run: Run, seeds: Path) -> None:
    options = ("--per-type", "30", "--json", "--rounds", "2")
    loose, strict = (
        json.loads(run(seeds, *options, "--max-rouge", bound, url=server.url, out=bound).stdout)["alike"]
        for bound in ("0.9", "0.5")
    )
    assert strict > 2 * loose


def test_another_seed_draws_others(server: ChatServer, run: Run, seeds: Path, tmp_path: Path) -> None:
    for seed in ("1", "2"):
        answer(run(seeds, "--per-type", "5", "--json", "--seed", seed, url=server.url, out=seed))
    assert (tmp_path / "1" / "inputs.jsonl").read_bytes() != (tmp_path / "2" / "inputs.jsonl").read_bytes()


def test_people_read_types_evenness_and_cost(server: ChatServer, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "seeds.txt"
    file.write_text("how do I pick a lock\nopen my neighbour's car\nget into his wifi\n")
    shown = run(file, "--per-type", "4", "--active", url=server.url).output
    for part in ("4 of 4, in", "(no risk type)", "evenness over the 2 clusters", "before", "unsure about 0 of"):
        assert part in shown


def test_a_judge_elsewhere_never_gets_the_key_of_the_writer(
    server: ChatServer, run: Run, seeds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRITER_KEY", "secret")
    with ChatServer(lambda request: Reply("safe")) as guard:
        judging = ("--active", "--detector", "llama-guard", "--detector-model", "guard", "--detector-url", guard.url)
        answer(run(seeds, "--per-type", "5", "--key-env", "WRITER_KEY", *judging, "--json", url=server.url))
        assert set(server.keys) == {"bearer secret"}
        assert guard.keys
        assert not any("secret" in key for key in guard.keys)
        assert {request["model"] for request in guard.requests} == {"guard"}


# Stopped and started again.


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in FILES}


def test_a_second_run_asks_nothing_and_writes_the_same(
    server: ChatServer, run: Run, seeds: Path, tmp_path: Path
) -> None:
    options = (seeds, "--per-type", "20", "--active", "--json")
    first = answer(run(*options, url=server.url))
    before, asked = contents(tmp_path / "out"), len(server.requests)
    again = answer(run(*options, url=server.url))
    assert (again["calls"], again["reused"], len(server.requests)) == (0, first["calls"], asked)
    assert contents(tmp_path / "out") == before
    assert again["after"] == first["after"]


def test_a_killed_run_repeats_no_answered_call_and_ends_with_the_same_file(
    server: ChatServer, run: Run, seeds: Path, tmp_path: Path
) -> None:
    options = (seeds, "--active", "--per-type", "25", "--concurrency", "4", "--json")
    answer(run(*options, url=server.url, out="whole"))
    calls = len(server.requests)
    server.requests.clear()
    server.script = lambda request: Reply(in_the_manner_of_its_seeds(request).text, hang_s=0.02)
    command = [sys.executable, "-m", "guidealign_engine", "library", "expand", *map(str, options)]
    command += ["--base-url", server.url, "--model", "m", "--out", str(tmp_path / "out")]
    environment = {**os.environ, "NO_PROXY": "*"}
    kills = 0
    # Once while the detector is asked, once between rounds of writing.
    for wanted in (calls // 4, calls - 12):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        while len(server.requests) < wanted and process.poll() is None:
            time.sleep(0.005)
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not any((tmp_path / "out" / name).exists() for name in FILES)
    assert kills == 2
    answer(run(*options, url=server.url))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    # Only what was under way when a run died may have been asked twice: four calls each time.
    assert calls <= len(server.requests) <= calls + kills * 4


# Faults.


def test_refusals_are_listed_and_others_make_up_for_them(
    server: ChatServer, run: Run, seeds: Path, tmp_path: Path
) -> None:
    refusal = "I'm sorry, I can't write these. Instead:\n- call a locksmith"
    replies = iter([Reply(refusal), failure(400, "blocked")])

    server.script = lambda request: next(replies, None) or in_the_manner_of_its_seeds(request)
    record = answer(run(seeds, "--per-type", "15", "--json", "--concurrency", "1", url=server.url))
    assert (record["new"], record["skipped"]) == (45, 2)
    why = [call["why"] for call in lines(tmp_path / "out" / "skipped.jsonl")]
    assert why[0].startswith("there is no list of inputs in the answer: \"I'm sorry, I can't write these.")
    assert why[1].startswith("the endpoint says: Error code: 400")


def test_a_model_that_never_answers_well_ends_with_1_and_a_list(
    server: ChatServer, run: Run, seeds: Path, tmp_path: Path
) -> None:
    server.script = lambda request: Reply("I will not.")
    result = run(seeds, "--per-type", "15", url=server.url)
    assert result.exit_code == 1
    assert "45 of 45 inputs are lacking and 0 records were unreadable; 12 calls brought nothing, see" in result.stderr
    assert lines(tmp_path / "out" / "inputs.jsonl") == []
    assert len(lines(tmp_path / "out" / "skipped.jsonl")) == len(server.requests) == 12


def test_a_model_that_repeats_itself_is_not_asked_for_ever(server: ChatServer, run: Run, seeds: Path) -> None:
    server.script = lambda request: Reply(json.dumps({"inputs": examples_of(request)}))
    result = run(seeds, "--per-type", "15", "--rounds", "50", "--json", url=server.url)
    assert result.exit_code == 1
    record = json.loads(result.stdout)
    assert (record["new"], record["rounds"]) == (0, 2)
    assert record["alike"] == sum(len(examples_of(request)) for request in server.requests)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (failure(401, "bad key"), "refuses the key (401)"),
        (failure(404, "no such model"), "does not know model 'm' (404"),
        (failure(429, "pay first", code="insufficient_quota"), "has no quota left for this key"),
        (failure(500, "down", **{"retry-after": "0.01"}), "answered 500 3 times"),
    ],
    ids=["key", "model", "quota", "down"],
)
def test_an_endpoint_that_fails_for_good_stops_the_run_and_loses_nothing(
    server: ChatServer, run: Run, seeds: Path, tmp_path: Path, reply: Reply, message: str
) -> None:
    server.script = lambda request: reply if len(server.requests) > 4 else in_the_manner_of_its_seeds(request)
    result = run(seeds, "--per-type", "30", "--concurrency", "1", url=server.url)
    assert result.exit_code == 1
    assert message in result.stderr
    assert not any((tmp_path / "out" / name).exists() for name in FILES)
    server.script = in_the_manner_of_its_seeds
    again = answer(run(seeds, "--per-type", "30", "--json", url=server.url))
    assert (again["new"], again["reused"]) == (90, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-rouge", "1.5"], "the highest ROUGE-L is 1.5; it must lie between 0 and 1"),
        (["--vectors", "nobody"], "vectors by 'nobody'; allowed: student, teacher"),
        (["--detector", "shieldgemma"], "--detector shieldgemma needs --detector-model"),
        (["--field", "question"], "none of its records can be read; the first: "),
    ],
)
def test_wrong_options_are_named_before_anything_is_asked(
    server: ChatServer, run: Run, seeds: Path, options: list[str], message: str
) -> None:
    result = run(seeds, *options, url=server.url)
    assert result.exit_code == 1
    assert message in " ".join(result.stderr.split())
    assert server.requests == []


def test_a_bad_record_is_passed_over_and_ends_with_1(server: ChatServer, run: Run, seeds: Path, tmp_path: Path) -> None:
    with seeds.open("a") as file:
        file.write('{"nothing": 1}\n')
    result = run(seeds, "--per-type", "5", "--json", url=server.url)
    assert result.exit_code == 1
    assert f"skipped: {seeds}, field input: line 37: there is no input" in result.stderr
    assert len(lines(tmp_path / "out" / "inputs.jsonl")) == 15
    assert run(seeds, "--strict", url=server.url, out="strict").exit_code == 1
    assert not (tmp_path / "strict").exists()

"""`guidealign library generate` against a real HTTP server, with faults and kills."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, Reply, asked_input, asks_for_verdict, completion, failure, fluent

TEXTS = [f"how does one mend thing{number}?" if number % 3 else f"a poem on thing{number}" for number in range(12)]
FILES = ("guidelines.jsonl", "pairs.jsonl", "skipped.jsonl")


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    return write_inputs(tmp_path / "inputs.txt", TEXTS)


def write_inputs(file: Path, texts: list[str]) -> Path:
    file.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return file


def command(inputs: Path, url: str, out: Path, *options: str) -> list[str]:
    start = [sys.executable, "-m", "guidealign_engine", "library", "generate", str(inputs), "--out", str(out)]
    return [*start, "--base-url", url, "--model", "m", "--attempts", "3", *options]


def run(arguments: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OPENAI_API_KEY": "secret", "NO_PROXY": "*"}
    return subprocess.run(arguments, capture_output=True, text=True, timeout=120, env=environment, **options)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in FILES}


def test_inputs_become_guidelines_and_pairs(server: ChatServer, inputs: Path, tmp_path: Path) -> None:
    done = run(command(inputs, server.url, tmp_path / "out", "--json", "--price-in", "1", "--price-out", "10"))
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["inputs"], record["unsafe"], record["guidelines"], record["skipped"]) == (12, 8, 24, 0)
    assert (record["calls"], record["prompt_tokens"], record["completion_tokens"]) == (24, 2400, 480)
    assert record["cost"] == pytest.approx(2400e-6 + 4800e-6)
    pairs = lines(tmp_path / "out" / "pairs.jsonl")
    guidelines = {each["id"]: each for each in lines(tmp_path / "out" / "guidelines.jsonl")}
    assert [pair["input"] for pair in pairs] == TEXTS
    assert {pair["split"] for pair in pairs} == {"train"}
    for pair in pairs:
        kind = "safety" if "how" in pair["input"] else "quality"
        assert [guidelines[id]["examples"] for id in pair["positive"]] == [[pair["input"]]] * 2
        assert {guidelines[id]["kind"] for id in pair["positive"]} == {kind}
    assert set(server.keys) == {"bearer secret"}
    temperatures = {asks_for_verdict(request): request["temperature"] for request in server.requests}
    assert temperatures == {True: 0.7, False: 0.7}


def test_a_second_run_asks_nothing_and_writes_the_same(server: ChatServer, inputs: Path, tmp_path: Path) -> None:
    first = run(command(inputs, server.url, tmp_path / "out"))
    before, calls = contents(tmp_path / "out"), len(server.requests)
    again = run(command(inputs, server.url, tmp_path / "out", "--json"))
    assert first.returncode == again.returncode == 0
    assert json.loads(again.stdout)["calls"] == 0
    assert len(server.requests) == calls
    assert contents(tmp_path / "out") == before


def test_a_killed_run_repeats_no_answered_call(server: ChatServer, tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "many.txt", [f"how to carry load{number}" for number in range(60)])
    whole = run(command(inputs, server.url, tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr
    server.requests.clear()
    server.most_at_once = 0

    def slow(request: dict[str, Any]) -> Reply:
        return Reply(fluent(request).text, hang_s=0.02)

    server.script = slow
    arguments = command(inputs, server.url, tmp_path / "out", "--concurrency", "4")
    kills = 0
    for wanted in (20, 60):
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len(server.requests) < wanted and process.poll() is None:
            time.sleep(0.005)
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not any((tmp_path / "out" / name).exists() for name in FILES)
    assert kills == 2
    last = run(arguments)
    assert last.returncode == 0, last.stderr
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    # Only what was under way when a run died may have been asked twice: four calls each time.
    assert 120 <= len(server.requests) <= 120 + kills * 4
    assert server.most_at_once <= 8


def fault_once(fault: Reply, at: str) -> Any:
    """A script that answers one question with a fault, the first time it is asked."""
    met: list[str] = []

    def script(request: dict[str, Any]) -> Reply:
        if asks_for_verdict(request) and asked_input(request) == at and not met:
            met.append(at)
            return fault
        return fluent(request)

    return script


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        (failure(429, "slow down", **{"retry-after": "0.2"}), ()),
        (failure(500, "oops"), ()),
        (failure(503, "busy"), ()),
        (Reply("late", hang_s=3.0), ("--timeout-s", "1")),
        (Reply("Verdict: safe", cut=True), ()),
        (Reply(body="{not json"), ()),
    ],
    ids=["429", "500", "503", "time-out", "cut", "malformed"],
)
def test_a_passing_fault_leaves_no_trace(
    server: ChatServer, inputs: Path, tmp_path: Path, fault: Reply, options: tuple[str, ...]
) -> None:
    whole = run(command(inputs, server.url, tmp_path / "whole"))
    server.script = fault_once(fault, TEXTS[5])
    begin = time.monotonic()
    done = run(command(inputs, server.url, tmp_path / "out", *options))
    assert whole.returncode == done.returncode == 0, done.stderr
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert time.monotonic() - begin >= float(fault.headers.get("retry-after", 0))


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (
            Reply("I am sorry, I can not do that."),
            "no verdict in 3 answers; the last: 'I am sorry, I can not do that.'",
        ),
        (Reply(body=completion("", refusal="I will not judge this").decode()), "the model refuses: I will not judge"),
        (failure(400, "the prompt was blocked"), "the endpoint says: Error code: 400"),
        (Reply(body='{"choices": []}'), "the endpoint answered without a choice"),
        (Reply("late", hang_s=2.0), "no answer within 0.4 s, 3 times"),
    ],
    ids=["unparsable", "refusal", "blocked", "empty", "time-out"],
)
def test_an_input_without_an_answer_is_a_listed_skip(
    server: ChatServer, inputs: Path, tmp_path: Path, reply: Reply, why: str
) -> None:
    def script(request: dict[str, Any]) -> Reply:
        return reply if asked_input(request) == TEXTS[4] else fluent(request)

    server.script = script
    options = ("--timeout-s", "0.4") if reply.hang_s else ()
    done = run(command(inputs, server.url, tmp_path / "out", *options))
    assert done.returncode == 1
    assert "1 inputs got no guidelines and 0 records were unreadable; see" in done.stderr
    (skipped,) = lines(tmp_path / "out" / "skipped.jsonl")
    assert skipped["input"] == TEXTS[4]
    assert skipped["place"] == f"{inputs}, line 5"
    assert why in skipped["why"]
    assert len(lines(tmp_path / "out" / "pairs.jsonl")) == 11


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (failure(401, "bad key", code="invalid_api_key"), "refuses the key (401); check the variable that holds it"),
        (failure(404, "no such model", code="model_not_found"), "does not know model 'm' (404"),
        (failure(429, "pay first", code="insufficient_quota"), "has no quota left for this key"),
        (failure(502, "down", **{"retry-after": "0.01"}), "answered 502 3 times"),
    ],
    ids=["key", "model", "quota", "down"],
)
def test_an_endpoint_that_fails_for_good_stops_the_run_and_loses_nothing(
    server: ChatServer, inputs: Path, tmp_path: Path, reply: Reply, message: str
) -> None:
    def script(request: dict[str, Any]) -> Reply:
        return reply if len(server.requests) > 9 else fluent(request)

    server.script = script
    done = run(command(inputs, server.url, tmp_path / "out", "--concurrency", "1"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {server.url} ")
    assert message in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith("answers")) == []
    server.script = fluent
    again = run(command(inputs, server.url, tmp_path / "out", "--json"))
    assert again.returncode == 0
    assert json.loads(again.stdout)["reused"] == 9


def test_an_endpoint_that_is_not_there_is_named(inputs: Path, tmp_path: Path) -> None:
    done = run(command(inputs, "http://127.0.0.1:9/v1", tmp_path / "out", "--attempts", "1"))
    assert done.returncode == 1
    assert "error: http://127.0.0.1:9/v1 cannot be reached, 1 times tried" in done.stderr


def test_a_full_disk_keeps_what_was_answered(server: ChatServer, tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "many.txt", [f"how to fill disk{number}" for number in range(300)])

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    full = run(command(inputs, server.url, tmp_path / "out"), preexec_fn=limit)
    assert full.returncode == 1
    assert "an answer cannot be kept" in full.stderr
    assert not (tmp_path / "out" / "guidelines.jsonl").exists()
    again = run(command(inputs, server.url, tmp_path / "out", "--json"))
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["reused"] > 50


@pytest.mark.parametrize("offered", [True, False])
def test_structured_output_is_used_where_it_is_offered(
    server: ChatServer, inputs: Path, tmp_path: Path, offered: bool
) -> None:
    def script(request: dict[str, Any]) -> Reply:
        if "response_format" not in request:
            return fluent(request)
        if not offered:
            return failure(400, "response_format is not supported here")
        if asks_for_verdict(request):
            return Reply('{"reason": "because", "verdict": "safe"}')
        text = "Say what is known, in order, and no more."
        return Reply(json.dumps({"guidelines": [{"title": "Known things", "text": text}]}))

    server.script = script
    done = run(command(inputs, server.url, tmp_path / "out", "--json", "--concurrency", "1"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["guidelines"] == (12 if offered else 24)
    with_schema = [request for request in server.requests if "response_format" in request]
    # A server that refuses is asked once, and believed.
    assert len(with_schema) == (24 if offered else 1)
    assert with_schema[0]["response_format"]["json_schema"]["strict"] is True


@pytest.mark.parametrize(
    ("kind", "unsafe", "safe"), [("llama-guard", "unsafe\nS2", "safe"), ("shieldgemma", "Yes", "No")]
)
def test_a_guard_model_may_judge(
    server: ChatServer, inputs: Path, tmp_path: Path, kind: str, unsafe: str, safe: str
) -> None:
    def judge(request: dict[str, Any]) -> Reply:
        assert request["temperature"] == 0.0
        return Reply(unsafe if "poem" in request["messages"][0]["content"] else safe)

    with ChatServer(judge) as guard:
        options = ("--detector", kind, "--detector-model", "guard", "--detector-url", guard.url, "--json")
        done = run(command(inputs, server.url, tmp_path / "out", *options))
        assert {request["model"] for request in guard.requests} == {"guard"}
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["unsafe"] == 4
    assert not any(asks_for_verdict(request) for request in server.requests)
    assert "error: --detector llama-guard needs --detector-model" in (
        run(command(inputs, server.url, tmp_path / "x", "--detector", "llama-guard")).stderr
    )


def test_a_bad_record_is_passed_over_and_strict_stops(server: ChatServer, tmp_path: Path) -> None:
    inputs = tmp_path / "inputs.jsonl"
    inputs.write_text('{"prompt": "how?", "category": "c"}\n{"nothing": 1}\n', encoding="utf-8")
    done = run(command(inputs, server.url, tmp_path / "out"))
    assert done.returncode == 1
    assert "line 2" in done.stderr
    assert {each["category"] for each in lines(tmp_path / "out" / "guidelines.jsonl")} == {"c"}
    strict = run(command(inputs, server.url, tmp_path / "strict", "--strict"))
    assert strict.returncode == 1
    assert not (tmp_path / "strict").exists()

"""Faults of an endpoint under `guidealign library generate`: passing ones, those of one input, and those for good."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, Reply, asked_input, asks_for_verdict, completion, failure, fluent, stream
from generate_runs import TEXTS, contents, lines, run, summary, write_inputs

NESTED = '{"choices":' + "[" * 100_000


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    return write_inputs(tmp_path / "inputs.txt", TEXTS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a run that met no fault."""
    folder = tmp_path_factory.mktemp("whole")
    with ChatServer() as running:
        summary(write_inputs(folder / "inputs.txt", TEXTS), running.url, folder / "out")
    return contents(folder / "out")


def once(fault: Reply) -> Callable[[dict[str, Any]], Reply]:
    """A script that answers one question with a fault, the first time it is asked."""
    met: list[str] = []

    def script(request: dict[str, Any]) -> Reply:
        if asks_for_verdict(request) and asked_input(request) == TEXTS[5] and not met:
            met.append(TEXTS[5])
            return fault
        return fluent(request)

    return script


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        (failure(429, "slow down"), ()),
        (failure(500, "oops"), ()),
        (failure(503, "busy"), ()),
        (failure(408, "too late"), ()),
        (Reply("late", hang_s=3.0), ("--timeout-s", "0.5")),
        (Reply("Verdict: safe", drip_s=0.05), ("--timeout-s", "0.5")),
        (Reply("Verdict: safe", cut=True), ()),
        (stream("It is harmless.\nVerdict: safe", cut=True), ()),
        (stream("It is harmless.\nVerdict: safe", finished=False), ()),
        (Reply(body='data: {"error": "overloaded"}', kind="text/event-stream"), ()),
        (Reply(body="{not json"), ()),
        (Reply(body="<html>Bad gateway</html>", kind="text/html"), ()),
        (Reply(body=NESTED), ()),
        (Reply(body='{"choices": [{"message": {"content": 7}}]}'), ()),
    ],
    ids=[
        "429",
        "500",
        "503",
        "408",
        "time-out",
        "drip",
        "cut",
        "cut stream",
        "endless stream",
        "streamed error",
        "malformed",
        "no JSON at all",
        "nested",
        "no text",
    ],
)
def test_a_passing_fault_leaves_no_trace(
    server: ChatServer,
    inputs: Path,
    tmp_path: Path,
    whole: dict[str, bytes],
    fault: Reply,
    options: tuple[str, ...],
) -> None:
    server.script = once(fault)
    record = summary(inputs, server.url, tmp_path / "out", *options)
    assert (record["calls"], len(server.requests)) == (24, 25)
    assert contents(tmp_path / "out") == whole


@pytest.mark.parametrize("as_date", [False, True])
def test_a_pause_that_is_asked_for_holds_for_every_call(
    server: ChatServer, inputs: Path, tmp_path: Path, as_date: bool
) -> None:
    def limited(request: dict[str, Any]) -> Reply:
        if len(server.requests) == 5:
            # A date has no fractions of a second.
            until = format_datetime(datetime.now(UTC) + timedelta(seconds=1.2), usegmt=True)
            return failure(429, "slow down", **{"retry-after": until if as_date else "0.4"})
        return fluent(request)

    server.script = limited
    summary(inputs, server.url, tmp_path / "out", "--concurrency", "4")
    refused = server.times[4]
    # Three more were under way; what they lead to, and all others, come after the pause.
    early = [at for at in server.times[8:] if at < refused + (0.15 if as_date else 0.38)]
    assert early == []
    assert len(server.times) == 25


def test_a_rate_limit_slows_a_run_down_and_never_ends_it(server: ChatServer, tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "many.txt", [f"how to carry load{number}" for number in range(40)])
    begin = time.monotonic()
    answered, refused = Counter[int](), Counter[str]()

    def limited(request: dict[str, Any]) -> Reply:
        window = int((time.monotonic() - begin) / 0.2)
        answered[window] += 1
        if answered[window] > 10:
            refused[json.dumps(request)] += 1
            return failure(429, "ten in a fifth of a second", **{"retry-after": "0.2"})
        return fluent(request)

    server.script = limited
    record = summary(inputs, server.url, tmp_path / "out", "--concurrency", "40", "--attempts", "3")
    assert (record["calls"], record["skipped"]) == (80, 0)
    # As many refusals would have ended the run if they counted as failures.
    assert max(refused.values()) >= 3


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (
            Reply("I am sorry, I can not do that."),
            "no verdict in 3 answers; the last: 'I am sorry, I can not do that.'",
        ),
        (
            Reply(body=completion("It is about", finish_reason="length").decode()),
            "no verdict in 3 answers; the last, cut off after 20 tokens: 'It is about'",
        ),
        (Reply(body=completion("", refusal="I will not judge this").decode()), "the model refuses: I will not judge"),
        (
            Reply(body=completion("", finish_reason="content_filter").decode()),
            "the model refuses: stopped by the endpoint's content filter",
        ),
        (failure(400, "the prompt was blocked"), "the endpoint says: Error code: 400"),
        (failure(500, "this one kills me"), "the endpoint answered 500 3 times: Error code: 500"),
        (Reply(body='{"choices": []}'), "the endpoint answered without a choice"),
        (Reply("Verdict: safe", cut=True), "the connection was lost 3 times: "),
        (Reply("late", hang_s=2.0), "no answer within 0.3 s, 3 times"),
    ],
    ids=["unparsable", "too long", "refusal", "filtered", "blocked", "500", "empty", "cut", "time-out"],
)
def test_an_input_without_an_answer_is_a_listed_skip(
    server: ChatServer, inputs: Path, tmp_path: Path, reply: Reply, why: str
) -> None:
    def script(request: dict[str, Any]) -> Reply:
        return reply if asked_input(request) == TEXTS[4] else fluent(request)

    server.script = script
    options = ("--timeout-s", "0.3") if reply.hang_s else ()
    done = run(inputs, server.url, tmp_path / "out", *options)
    assert done.exit_code == 1
    assert "1 inputs got no guidelines and 0 records were unreadable; see" in done.stderr
    (skipped,) = lines(tmp_path / "out" / "skipped.jsonl")
    assert skipped["input"] == TEXTS[4]
    assert skipped["place"] == f"{inputs}, line 5"
    assert why in skipped["why"]
    assert len(lines(tmp_path / "out" / "pairs.jsonl")) == 11


def test_a_cut_answer_gives_the_guidelines_before_the_cut(server: ChatServer, inputs: Path, tmp_path: Path) -> None:
    def script(request: dict[str, Any]) -> Reply:
        if asks_for_verdict(request):
            return fluent(request)
        return Reply(body=completion(fluent(request).text[:-20], finish_reason="length").decode())

    server.script = script
    assert summary(inputs, server.url, tmp_path / "out")["guidelines"] == 12


def test_a_server_that_streams_unasked_is_read(
    server: ChatServer, inputs: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    server.script = lambda request: stream(fluent(request).text)
    summary(inputs, server.url, tmp_path / "out")
    assert contents(tmp_path / "out") == whole


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (failure(401, "bad key", code="invalid_api_key"), "refuses the key (401); check the variable that holds it"),
        (failure(404, "no such model", code="model_not_found"), "does not know model 'm' (404"),
        (failure(429, "pay first", code="insufficient_quota"), "has no quota left for this key"),
        (failure(402, "Insufficient Balance"), "has no quota left for this key"),
        (failure(429, "slow down", **{"retry-after": "0.01"}), "answered 429 3 times"),
        (failure(429, "tomorrow", **{"retry-after": "86400"}), "asks for a pause of 86400 s"),
        (failure(502, "down", **{"retry-after": "0.01"}), "gave no answer to 5 questions in a row; the last: the"),
    ],
    ids=["key", "model", "quota", "balance", "rate", "tomorrow", "down"],
)
def test_an_endpoint_that_fails_for_good_stops_the_run_and_loses_nothing(
    server: ChatServer, inputs: Path, tmp_path: Path, reply: Reply, message: str
) -> None:
    def script(request: dict[str, Any]) -> Reply:
        return reply if len(server.requests) > 9 else fluent(request)

    server.script = script
    done = run(inputs, server.url, tmp_path / "out", "--concurrency", "1")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {server.url} ")
    assert message in done.stderr
    # Nobody goes on asking an endpoint that was given up.
    assert len(server.requests) <= 9 + 5 * 3
    assert [path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith("answers")] == []
    server.script = fluent
    assert summary(inputs, server.url, tmp_path / "out")["reused"] == 9


def test_an_endpoint_that_takes_no_question_at_all_is_given_up(
    server: ChatServer, inputs: Path, tmp_path: Path
) -> None:
    server.script = lambda request: failure(400, "no such field: messages")
    done = run(inputs, server.url, tmp_path / "out", "--concurrency", "1")
    assert done.exit_code == 1
    assert "gave no answer to 5 questions in a row; the last: the endpoint says: Error code: 400" in done.stderr
    assert len(server.requests) == 5


def test_an_endpoint_that_is_not_there_is_named(inputs: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        done = run(inputs, url, tmp_path / "out", "--attempts", "1")
    assert done.exit_code == 1
    assert f"error: {url} cannot be reached, 1 times tried: " in done.stderr


def test_a_fault_that_nobody_foresaw_is_not_swallowed(server: ChatServer, inputs: Path, tmp_path: Path) -> None:
    """Half of a surrogate pair in an answer is legal JSON; it must become text that a file can hold."""

    def script(request: dict[str, Any]) -> Reply:
        if asks_for_verdict(request):
            return fluent(request)
        return Reply(body=json.dumps({"choices": [{"message": {"content": "Odd: \ud800 and then a whole sentence."}}]}))

    server.script = script
    summary(inputs, server.url, tmp_path / "out")
    assert {each["text"] for each in lines(tmp_path / "out" / "guidelines.jsonl")} == {"? and then a whole sentence."}

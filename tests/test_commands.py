"""The command line: what it reads, and how it says no."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import toy
from command_runs import CHAT, COMMAND, QUESTION, Run, assert_error, records, write_lines

from guidealign_engine import __version__, load_engine
from guidealign_engine.commands.prompts import read_prompts

FOUND_FIELDS = {"id", "kind", "category", "title", "text", "score", "matched"}


# What a prompt is.


def test_json_says_what_the_engine_says(run: Run, toy_bundle: Path) -> None:
    (record,) = records(run("retrieve", "--json", "--bundle", toy_bundle, "--min-score", "-1", "-k", "3", QUESTION))
    found = load_engine(toy_bundle).retrieve_batch([QUESTION], k=3, min_score=-1.0)[0]
    assert record["prompt"] == QUESTION
    assert record["guidelines"] == [guideline.as_dict() for guideline in found.guidelines]
    assert set(record["guidelines"][0]) == FOUND_FIELDS
    assert record["risk"] is None
    assert list(record["timings_us"]) == ["query", "tokenize", "encode", "search", "rerank", "select"]


@pytest.mark.parametrize(
    ("line", "prompt"),
    [
        ("plain text", "plain text"),
        ("  kept as it stands ", "  kept as it stands "),
        ('"a JSON string\\nof two lines"', "a JSON string\nof two lines"),
        ('"not closed', '"not closed'),
        ("[INST] no JSON", "[INST] no JSON"),
        ("{curly} text", "{curly} text"),
        ("42", "42"),
        ("[" * 100_000, "[" * 100_000),
        ('{"prompt": "a", "text": "b"}', "a"),
        ('{"text": "b", "id": 7}', "b"),
        (json.dumps({"messages": CHAT}), CHAT),
        (json.dumps({"prompt": CHAT}), CHAT),
        (json.dumps(CHAT), CHAT),
        ('"half \\ud800 a pair"', "half � a pair"),
        ("windows line\r", "windows line"),
        ("\ufefffrom an editor with a BOM", "from an editor with a BOM"),
    ],
)
def test_a_line_is_json_where_it_parses_and_text_otherwise(tmp_path: Path, line: str, prompt: object) -> None:
    file = tmp_path / "prompts"
    file.write_bytes(f"{line}\n\n  \nlast".encode())
    assert [item.prompt for item in read_prompts(None, str(file))] == [prompt, "last"]


def test_files_and_standard_input_give_the_same(run: Run, toy_bundle: Path, tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "prompts.jsonl", [QUESTION, {"messages": CHAT}, CHAT, {"text": "make it better"}])
    asked = ("retrieve", "--json", "--bundle", toy_bundle)
    answers = [
        [(record["prompt"], record["guidelines"]) for record in records(result)]
        for result in (
            run(*asked, "--file", lines),
            run(*asked, stdin=lines.read_text()),
            run(*asked, "--file", "-", "--batch-size", "1", stdin=lines.read_text()),
        )
    ]
    assert [prompt for prompt, _ in answers[0]] == [QUESTION, CHAT, CHAT, "make it better"]
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"id": 1}', "the object has none of prompt, text, messages; its fields are id"),
        (b'{"prompt": 3}', "prompt is a int; it must be a string or a list of messages"),
        (b'["a"]', "message 0 is a str; it must be a dict"),
        (b"caf\xe9", "not UTF-8 (invalid continuation byte at byte 3)"),
        (
            b'[{"role": "boss", "content": "x"}]',
            "message 0 has role 'boss'; allowed: assistant, developer, function, system, tool, user",
        ),
    ],
)
@pytest.mark.parametrize("batch_size", ["1", "2", "64"])
def test_a_bad_line_is_named(run: Run, toy_bundle: Path, line: bytes, message: str, batch_size: str) -> None:
    stdin = b"fine\n\n" + line + b"\nfine\n"
    result = run("retrieve", "--json", "--bundle", toy_bundle, "--batch-size", batch_size, stdin=stdin)
    assert_error(result, f"standard input, line 3: {message}")


def test_no_prompts_are_no_error(run: Run, toy_bundle: Path) -> None:
    assert records(run("retrieve", "--json", "--bundle", toy_bundle)) == []
    assert "there were no prompts" in run("retrieve", "--bundle", toy_bundle).stdout


def test_standard_input_is_answered_while_it_is_still_open(toy_bundle: Path) -> None:
    command = [*COMMAND, "retrieve", "--json", "--batch-size", "2", "--bundle", str(toy_bundle)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("one\ntwo\n")
        process.stdin.flush()
        assert [json.loads(process.stdout.readline())["prompt"] for _ in range(2)] == ["one", "two"]
        process.stdin.close()
        assert process.wait(timeout=30) == 0


@pytest.mark.parametrize("as_json", [["--json"], []])
def test_a_reader_that_leaves_early_is_no_traceback(toy_bundle: Path, as_json: list[str]) -> None:
    command = [*COMMAND, "retrieve", *as_json, "--bundle", str(toy_bundle)]
    with (
        subprocess.Popen(["yes"], stdout=subprocess.PIPE) as lines,
        subprocess.Popen(command, stdin=lines.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        process.wait(timeout=30)
        lines.kill()


# Options.


def test_filters_reach_the_engine(run: Run, toy_bundle: Path) -> None:
    options = ("retrieve", "--json", "--bundle", toy_bundle, "--min-score", "-1", toy.SHARED_EXAMPLE)
    ids = {
        name: [guideline["id"] for guideline in records(run(*options, *more))[0]["guidelines"]]
        for name, more in {
            "plain": (),
            "kept": ("--keep-duplicates",),
            "quality": ("--kind", "quality"),
            "tagged": ("--tag", "maths", "--tag", "law"),
            "two": ("-k", "2", "--threads", "2", "--diversity", "0.5", "--duplicate-ratio", "0.9"),
        }.items()
    }
    twins = {"crime-wifi", "crime-wifi-again"}
    assert len(twins & set(ids["plain"])) == 1
    assert twins <= set(ids["kept"])
    assert not twins & set(ids["quality"])
    assert sorted(ids["tagged"]) == ["legal-advice", "maths-steps", "maths-units"]
    assert len(ids["two"]) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["retrieve", "--duplicate-ratio", "0.5", "--keep-duplicates", "x"],
        ["retrieve", "--file", "prompts.txt", "x"],
        ["retrieve", "--batch-size", "0", "x"],
        ["retrieve", "--kind", "rude", "x"],
        ["retrieve", "--min_score", "0.5", "x"],
        ["assemble", "--output", "token_ids", "x"],
        ["assemble", "--placement", "below", "x"],
        ["bundle", "build", "--out", "x"],
        ["serve"],
    ],
)
def test_a_wrong_call_ends_with_2(run: Run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-k", "0"], "k is 0; it must be a whole number from 1 to 1000"),
        (["--diversity", "2"], "diversity is 2.0; it must lie between 0 and 1"),
        (["--device", "abacus"], 'device is \'abacus\'; allowed: "cpu", "cuda", "cuda:N", "cuda:N,M", "auto"'),
        (["--tag", "hackin"], "tags holds 'hackin', which no guideline has; did you mean hacking, cooking?"),
        (["--file", "nowhere.txt"], "nowhere.txt: the file cannot be read: No such file or directory"),
    ],
)
def test_an_error_is_one_line(run: Run, toy_bundle: Path, options: list[str], message: str) -> None:
    prompt = [] if "--file" in options else ["x"]
    assert_error(run("retrieve", "--bundle", toy_bundle, *options, *prompt), message)


def test_a_bundle_that_is_none_is_one_line(run: Run, tmp_path: Path) -> None:
    assert_error(run("retrieve", "--bundle", tmp_path / "no", "x"), f"{tmp_path}/no: there is no such bundle folder")
    assert_error(run("bundle", "info", tmp_path / "no"), f"{tmp_path}/no: there is no such bundle folder")


def test_without_typer_one_line_says_what_to_install(run_python: Callable[..., Any]) -> None:
    code = "import sys; sys.modules['typer'] = None; from guidealign_engine.__main__ import main; main()"
    done = run_python(code)
    assert done.returncode == 1
    assert done.stderr == 'error: the command line needs typer and rich: pip install "guidealign-engine[cli]"\n'


def test_version_and_help(run: Run) -> None:
    assert run("--version").stdout == f"guidealign-engine {__version__}\n"
    for command in (["retrieve"], ["assemble"], ["bundle", "build"], ["bundle", "verify"], ["build", "student"]):
        assert f"guidealign {' '.join(command)} " in run(*command, "--help").stdout

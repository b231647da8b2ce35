"""What commands print, for people and for programs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import toy
from command_runs import CHAT, COMMAND, QUESTION, Run, assert_error, records

# What people see.


def test_people_see_prompt_table_and_times(run: Run, toy_bundle: Path) -> None:
    shown = run("retrieve", "--bundle", toy_bundle, "--min-score", "-1", "-k", "2", QUESTION).stdout
    for part in (QUESTION, "score", "crime-lock", "Locks of others", "microseconds for the prompt", "rerank"):
        assert part in shown


def test_people_read_that_nothing_fits(run: Run, toy_bundle: Path) -> None:
    assert "no guideline fits" in run("retrieve", "--bundle", toy_bundle, "--min-score", "1", "zzz qqq").stdout


@pytest.mark.parametrize("command", ["retrieve", "assemble"])
def test_a_prompt_cannot_steer_the_terminal(run: Run, toy_bundle: Path, command: str) -> None:
    shown = run(command, "--bundle", toy_bundle, "\x1b[2J\x07[bold]:smile: \x9b31m").stdout
    assert not set(shown) & {"\x1b", "\x07", "\x9b"}
    assert "[bold]:smile:" in shown


def test_output_fits_the_encoding_of_the_terminal(toy_bundle: Path) -> None:
    prompt = "schreibe eine Einladung für meine Großmutter 日本語"
    for as_json in (["--json"], []):
        done = subprocess.run(
            [*COMMAND, "assemble", *as_json, "--bundle", str(toy_bundle), prompt],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
            check=True,
        )
        assert done.stdout.isascii()
        if as_json:
            assert json.loads(done.stdout)["prompt"] == prompt


# Assembling.


def test_assemble_prints_the_finished_messages(run: Run, toy_bundle: Path) -> None:
    options = ("--min-score", "-1", "-k", "1", "--bundle", toy_bundle)
    (record,) = records(run("assemble", "--json", *options, QUESTION))
    ids = [guideline["id"] for guideline in record["guidelines"]]
    assert record["guided"] == [
        {"role": "system", "content": toy.block_of(ids)},
        {"role": "user", "content": QUESTION},
    ]
    assert "assemble" in record["timings_us"]
    shown = run("assemble", *options, QUESTION).stdout
    assert "</guidelines>" in shown
    assert ids[0] in shown


def test_words_and_place_of_the_block_are_options(run: Run, toy_bundle: Path) -> None:
    words = ("--opening", "[[rules", "--header", "", "--bullet", "* ", "--closing", "rules]]")
    options = ("--min-score", "-1", "-k", "1", "--output", "text", "--placement", "after_last_user", "--bundle")
    (record,) = records(run("assemble", "--json", *words, *options, toy_bundle, QUESTION))
    (found,) = record["guidelines"]
    assert record["guided"] == f"{QUESTION}\n\n[[rules\n* {found['title']}: {found['text']}\nrules]]"


def test_assemble_counts_and_prints_token_ids(run: Run, toy_bundle: Path, target_file: Path) -> None:
    options = ("--output", "token_ids", "--tokenizer", target_file, "--min-score", "-1", "--bundle", toy_bundle)
    (free,) = records(run("assemble", "--json", *options, QUESTION))
    (bound,) = records(run("assemble", "--json", *options, "--max-guideline-tokens", "120", QUESTION))
    (alone,) = records(run("assemble", "--json", *options, "--max-guideline-tokens", "0", QUESTION))
    assert all(isinstance(token, int) for token in free["guided"])
    assert len(alone["guided"]) < len(bound["guided"]) < len(free["guided"])
    assert len(bound["guidelines"]) < len(free["guidelines"])
    assert "token ids" in run("assemble", *options, QUESTION).stdout


def test_a_conversation_needs_a_chat_format_to_become_text(run: Run, toy_bundle: Path) -> None:
    stdin = f"{QUESTION}\n{json.dumps(CHAT)}\n"
    options = ("assemble", "--json", "--output", "text", "--bundle", toy_bundle)
    assert_error(
        run(*options, stdin=stdin),
        "standard input, line 2: --output text of a conversation needs --chat-format, such as chatml",
    )
    conversation = records(run(*options, "--chat-format", "chatml", stdin=stdin))[1]
    assert conversation["guided"].startswith("<|im_start|>system\nbe brief")

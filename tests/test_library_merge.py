"""`guidealign library merge`: who stays, what it takes over, and what is written when something goes wrong."""

from __future__ import annotations

import json
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from guidealign_engine.commands import app
from guidealign_engine.errors import ArtifactError, ConfigError

pytest.importorskip("rapidfuzz", reason="the offline extra is not installed")

from rapidfuzz.distance import Indel

from guidealign_engine.offline.guidelines import merge as merging
from guidealign_engine.offline.guidelines import near_duplicates
from guidealign_engine.offline.guidelines.guideline_lines import guideline_lines
from guidealign_engine.offline.guidelines.merge import merge_guidelines
from guidealign_engine.offline.guidelines.raw_library import RawLibrary

LOCK = "Explain how locks work to anybody who asks, and refuse a plan for entering a home that is not the user's own."
LOCK_AGAIN = (
    "Explain how locks work to anyone who asks, and refuse any plan for entering a home that is not the user's."
)
LOCK_IN_OTHER_WORDS = "Everybody may learn how locks work; a plan for entering somebody else's home is to be refused."
SUMS = "Show the arithmetic behind a household money question with the user's own figures, fees and tax included."


def guideline(
    id: str, text: str, *examples: str, kind: str = "safety", title: str = "Locks", **more: Any
) -> dict[str, Any]:
    return {"id": id, "kind": kind, "category": "c", "title": title, "text": text, "examples": list(examples), **more}


def write_lines(file: Path, records: list[Any]) -> Path:
    lines = [record if isinstance(record, str) else json.dumps(record, ensure_ascii=False) for record in records]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def read_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def merge(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["library", "merge", *map(str, arguments)], env={"COLUMNS": "160"})


@pytest.fixture
def merged(tmp_path: Path) -> Callable[..., tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]]:
    """Merges records; gives the guidelines that stay, the lines of those that went, and the summary."""

    def run(records: list[Any], *options: str | Path, exit_code: int = 0) -> Any:
        raw, out = write_lines(tmp_path / "raw.jsonl", records), tmp_path / "out" / "library.jsonl"
        result = merge(raw, "--out", out, "--json", *options)
        assert result.exit_code == exit_code, result.output
        summary = json.loads(result.stdout)
        assert summary["guidelines"] == summary["stay"] + sum(summary["went"].values())
        return read_lines(out), read_lines(out.with_suffix(".merged.ndjson")), summary

    return run


# Who stays.


def test_the_first_stays_and_takes_over_the_examples_of_the_others(merged: Any) -> None:
    stay, went, summary = merged(
        [
            guideline("one", LOCK, "open my door", tags=["locks"], source="run 1", note="kept as it is"),
            guideline("sums", SUMS, "can we afford it", title="Money", kind="quality"),
            guideline("two", LOCK_AGAIN, "Open  my DOOR", "pick a lock", tags=["doors"], source="run 2"),
        ]
    )
    assert [record["id"] for record in stay] == ["one", "sums"]
    assert stay[0] == guideline(
        "one",
        LOCK,
        "open my door",
        "pick a lock",
        tags=["locks"],
        source="run 1; merged with two",
        note="kept as it is",
    )
    assert stay[1] == guideline("sums", SUMS, "can we afford it", title="Money", kind="quality")
    (line,) = went
    assert line["likeness"] > 0.9
    del line["likeness"], line["file"]
    assert line == {
        "id": "two",
        "into": "one",
        "by": "text",
        "like": "one",
        "kind": "safety",
        "title": "Locks",
        "text": LOCK_AGAIN,
        "source": "run 2",
        "line": 3,
    }
    assert summary["went"] == {"id": 0, "text": 1, "meaning": 0}
    assert summary["examples"] == {"read": 4, "stay": 3}


def test_a_line_that_takes_over_nothing_is_written_as_it_was(tmp_path: Path) -> None:
    line = '{"title":"Locks", "id": "one", "kind": "safety", "text": "Stay \\u00e9.", "examples": []}'
    out = tmp_path / "out.jsonl"
    assert merge(write_lines(tmp_path / "raw.jsonl", [line]), "--out", out).exit_code == 0
    assert out.read_text(encoding="utf-8") == line + "\n"


def test_what_says_the_same_in_other_words_goes_by_its_meaning(merged: Any) -> None:
    records = [
        guideline("one", LOCK, "a"),
        guideline("sums", SUMS, title="Money"),
        guideline("two", LOCK_IN_OTHER_WORDS, "b"),
    ]
    stay, went, _ = merged(records, "--likeness", "0.7")
    assert [record["id"] for record in stay] == ["one", "sums"]
    assert [(line["id"], line["into"], line["by"]) for line in went] == [("two", "one", "meaning")]
    assert 0.7 <= went[0]["likeness"] < 1
    assert stay[0]["examples"] == ["a", "b"]
    assert len(merged(records, "--by-text-alone")[0]) == 3


def test_what_went_into_one_that_went_is_in_the_one_that_stays(merged: Any) -> None:
    again = LOCK_IN_OTHER_WORDS.replace("Everybody", "Anybody")
    records = [guideline("one", LOCK, "a"), guideline("two", LOCK_IN_OTHER_WORDS, "b"), guideline("three", again, "c")]
    stay, went, _ = merged(records, "--likeness", "0.7")
    assert [record["examples"] for record in stay] == [["a", "b", "c"]]
    assert stay[0]["source"] == "merged with two, three"
    assert [(line["id"], line["into"], line["by"], line["like"]) for line in went] == [
        ("two", "one", "meaning", "one"),
        ("three", "one", "text", "two"),
    ]


@pytest.mark.parametrize("text", [LOCK, LOCK_AGAIN, LOCK_IN_OTHER_WORDS])
def test_safety_and_quality_never_meet(merged: Any, text: str) -> None:
    records = [guideline("one", LOCK), guideline("two", text, kind="quality")]
    assert len(merged(records, "--likeness", "0.6")[0]) == 2


def test_one_that_declines_is_not_merged_with_one_that_helps(merged: Any) -> None:
    helps = LOCK.replace("refuse a plan", "help with a plan")
    assert len(merged([guideline("one", LOCK, tags=["decline"]), guideline("two", helps, tags=["help"])])[0]) == 2
    assert len(merged([guideline("one", LOCK, tags=["decline"]), guideline("two", helps, tags=["care"])])[0]) == 1
    words = "How a lock works may be explained to everybody, and so may any plan for entering a home of someone else."
    assert len(merged([guideline("one", LOCK), guideline("two", words)], "--likeness", "0.6")[0]) == 2


def test_texts_in_a_language_that_the_encoder_does_not_know_are_left_alone(merged: Any) -> None:
    texts = [
        "Refusez d'aider quelqu'un à entrer dans un logement qui n'est pas le sien; proposez un serrurier.",
        "Donnez des recettes avec les quantités, les temps de cuisson et la liste des ingrédients complète.",
        "次の関数を完成させてください。全角スペースも空白として扱います。",
        "请根据我贴出的六篇摘要写文献综述，主题是乡村教师流动，不要编造文献。",
        "Никогда не помогайте взламывать чужие замки; предложите слесаря или хозяина дома.",
        "Объясните шаги вычисления вероятности и в конце проверьте полученный результат.",
    ]
    records = [guideline(f"g-{number}", text, title=text[:12]) for number, text in enumerate(texts)]
    stay, _, summary = merged(records, "--likeness", "0.5")
    assert (len(stay), summary["not_compared_by_meaning"]) == (6, 6)


def test_ids_that_come_again_are_merged_only_with_their_like(merged: Any, tmp_path: Path) -> None:
    other = write_lines(tmp_path / "more.jsonl", [guideline("one", LOCK, "b"), guideline("sums", LOCK, "c")])
    records = [guideline("one", LOCK, "a"), guideline("sums", SUMS, title="Money")]
    stay, went, summary = merged(records, other, exit_code=1)
    assert [record["examples"] for record in stay] == [["a", "b"], []]
    assert "source" not in stay[0]
    assert [(line["id"], line["into"], line["by"], line["line"]) for line in went] == [("one", "one", "id", 1)]
    assert summary["left_out"] == 1


def test_the_size_of_a_batch_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (LOCK + " " + SUMS).split()
    texts = [" ".join(words[start : start + 20]) for start in range(0, 20)] * 2
    raw = write_lines(tmp_path / "raw.jsonl", [guideline(f"g-{n}", text, title="T") for n, text in enumerate(texts)])

    def outcome() -> list[int]:
        found = merge_guidelines(guideline_lines([raw]), encoder=None, on_skip=pytest.fail)
        return [*found.into().tolist(), *found.like]

    whole = outcome()
    assert 2 < len(set(whole)) < len(texts) / 2
    for size in (1, 3, 7):
        monkeypatch.setattr(near_duplicates, "BATCH", size)
        assert outcome() == whole


def test_they_are_those_that_comparing_all_with_all_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(4)
    texts = [f"{LOCK} {SUMS}", *(f"{SUMS} {chance.random()} {LOCK}" for _ in range(3))]
    # From most texts something is changed again, so that likeness thins out step by step.
    for _ in range(400):
        words = chance.choice(texts).split()
        for _ in range(6):
            words[chance.randrange(len(words))] = chance.choice(words)[::-1]
        texts.append(" ".join(words))
    raw = write_lines(tmp_path / "raw.jsonl", [guideline(f"g-{n}", text) for n, text in enumerate(texts)])
    kept = list[int]()
    for number, text in enumerate(texts):
        entry = f"Locks: {text}"
        if all(Indel.normalized_similarity(entry, f"Locks: {texts[other]}") < 0.75 for other in kept):
            kept.append(number)
    assert 10 < len(kept) < 200
    for size in (1000, 50):
        monkeypatch.setattr(near_duplicates, "BATCH", size)
        monkeypatch.setattr(merging, "_FEW", size // 3)
        found = merge_guidelines(guideline_lines([raw]), encoder=None, on_skip=pytest.fail)
        assert sorted(set(found.into().tolist())) == kept


def test_a_ratio_that_is_too_low_to_find_them_is_refused(tmp_path: Path) -> None:
    raw = write_lines(tmp_path / "raw.jsonl", [guideline("one", LOCK)])
    result = merge(raw, "--out", tmp_path / "out.jsonl", "--ratio", "0.5")
    assert (result.exit_code, "error: ratio is 0.5; it must lie between 0.7 and 1" in result.stderr) == (1, True)
    with pytest.raises(ConfigError, match=r"likeness is 1\.5; it must lie between 0\.5 and 1"):
        merging.MeaningMatches(1.5)


# Pairs.


def test_pairs_are_rewritten_to_the_ids_that_stay(merged: Any, tmp_path: Path) -> None:
    pairs = [
        {"input": "a", "positive": ["two", "one"], "negative": ["two", "sums"], "split": "dev"},
        {"input": "b", "positive": {"one": 1, "two": 3, "sums": 2}},
        {"input": "c", "positive": ["sums"], "note": 1},
        {"input": "d", "positive": ["gone", "two"]},
    ]
    file, out = write_lines(tmp_path / "pairs.jsonl", pairs), tmp_path / "rewritten.jsonl"
    records = [guideline("one", LOCK), guideline("sums", SUMS, title="Money"), guideline("two", LOCK_AGAIN)]
    _, _, summary = merged(records, "--pairs", file, "--pairs-out", out)
    assert read_lines(out) == [
        {"input": "a", "positive": ["one"], "negative": ["sums"], "split": "dev"},
        {"input": "b", "positive": {"one": 3, "sums": 2}},
        pairs[2],
        {"input": "d", "positive": ["gone", "one"]},
    ]
    assert summary["pairs"] == {"pairs": 4, "changed": 3, "unknown": 1}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"positive": []}, "field input: line 2: it is missing, or no string"),
        (
            {"input": "a", "positive": "one"},
            "field positive: line 2: must be a list of guideline ids, or an object that",
        ),
        ({"input": "a", "positive": {"one": "x"}}, "field positive: line 2: holds a grade that is no number"),
        ("{", ": line 2: not JSON: "),
    ],
)
def test_a_bad_pair_is_left_out_by_name(merged: Any, tmp_path: Path, line: Any, message: str) -> None:
    good = {"input": "a", "positive": ["one"]}
    file = write_lines(tmp_path / "pairs.jsonl", [good, line, good])
    merged([guideline("one", LOCK)], "--pairs", file, exit_code=1)
    assert read_lines(tmp_path / "out" / "library.pairs.ndjson") == [good, good]
    result = merge(tmp_path / "raw.jsonl", "--out", tmp_path / "other.jsonl", "--pairs", file, "--strict")
    assert (result.exit_code, message in result.stderr) == (1, True)
    assert not (tmp_path / "other.jsonl").exists()


# What goes wrong.


def test_bad_records_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    records = [
        guideline("one", LOCK),
        "{",
        guideline("two", "", title="x"),
        guideline("three", SUMS),
        guideline("one", SUMS),
    ]
    raw, out = write_lines(tmp_path / "raw.jsonl", records), tmp_path / "out.jsonl"
    result = merge(raw, "--out", out)
    assert result.exit_code == 1
    for message in (
        f"left out: {raw}: line 2: not JSON: ",
        f"left out: {raw}, field text: line 3: ''; must be a string that is not blank",
        f"left out: {raw}, field id: line 5: id 'one' was given before, in {raw}, line 1, to another guideline",
    ):
        assert message in result.stderr
    assert "3 bad records, named above" in result.stdout
    assert [record["id"] for record in read_lines(out)] == ["one", "three"]


def test_strict_stops_at_the_first_bad_record_and_leaves_all_as_it_was(tmp_path: Path) -> None:
    raw, out = write_lines(tmp_path / "raw.jsonl", [guideline("one", LOCK), "[]"]), tmp_path / "out.jsonl"
    out.write_text("what was there", encoding="utf-8")
    result = merge(raw, "--out", out, "--strict")
    assert (result.exit_code, f"error: {raw}: line 2: a list; each line must be" in result.stderr) == (1, True)
    assert out.read_text(encoding="utf-8") == "what was there"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.jsonl", "raw.jsonl"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "there are no guidelines in it"),
        (
            json.dumps(guideline("é", LOCK), ensure_ascii=False).encode("latin-1"),
            "line 1: not UTF-8 (invalid continuation",
        ),
    ],
)
def test_a_file_without_guidelines_is_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    raw = tmp_path / "raw.jsonl"
    raw.write_bytes(content)
    result = merge(raw, "--out", tmp_path / "out.jsonl")
    assert (result.exit_code, f"error: {raw}: {message}" in result.stderr) == (1, True)
    missing = merge(tmp_path / "nowhere.jsonl", "--out", tmp_path / "out.jsonl")
    assert "nowhere.jsonl: there is no such file" in missing.stderr


def test_outputs_with_one_name_are_refused(tmp_path: Path) -> None:
    raw = write_lines(tmp_path / "raw.jsonl", [guideline("one", LOCK)])
    result = merge(raw, "--out", tmp_path / "out.jsonl", "--merged", tmp_path / "out.jsonl")
    assert (result.exit_code, "name the same file" in result.stderr) == (2, True)
    assert "give --pairs to say what" in merge(raw, "--out", tmp_path / "a", "--pairs-out", tmp_path / "b").stderr


def test_a_library_can_be_merged_in_its_place(tmp_path: Path) -> None:
    raw = write_lines(tmp_path / "raw.jsonl", [guideline("one", LOCK), guideline("two", LOCK_AGAIN)])
    assert merge(raw, "--out", raw).exit_code == 0
    assert [record["id"] for record in read_lines(raw)] == ["one"]


def test_a_file_that_changes_during_the_merge_is_noticed(tmp_path: Path) -> None:
    raw = write_lines(tmp_path / "raw.jsonl", [guideline("one", LOCK), guideline("two", SUMS)])
    library = RawLibrary()
    for line in guideline_lines([raw]):
        assert not isinstance(line, ArtifactError)
        library.add(line)
    write_lines(raw, [guideline("two", SUMS), guideline("one", LOCK)])
    with pytest.raises(ArtifactError, match="line 1: id 'one' is not there any more; the file was changed"):
        list(library.read([0, 1]))


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "guidealign_engine", "library", "merge", *map(str, arguments)]


def many(tmp_path: Path, count: int) -> Path:
    records = [guideline(f"g-{n}", f"{LOCK} {n * 7919 % 10007} {SUMS}", "x" * 99, title=f"{n}") for n in range(count)]
    return write_lines(tmp_path / "raw.jsonl", records)


def test_killed_at_work_it_leaves_what_was_there(tmp_path: Path) -> None:
    raw, out = many(tmp_path, 12_000), tmp_path / "out.jsonl"
    out.write_text("what was there", encoding="utf-8")
    with subprocess.Popen(command(raw, "--out", out), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "guidelines read" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert out.read_text(encoding="utf-8") == "what was there"
    assert not out.with_suffix(".merged.ndjson").exists()


def test_a_disk_that_is_full_is_an_error_and_leaves_what_was_there(tmp_path: Path) -> None:
    raw, out = many(tmp_path, 2_000), tmp_path / "out.jsonl"
    out.write_text("what was there", encoding="utf-8")
    done = subprocess.run(
        command(raw, "--out", out),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "error: [Errno 27] File too large")
    assert out.read_text(encoding="utf-8") == "what was there"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.jsonl", "raw.jsonl"]

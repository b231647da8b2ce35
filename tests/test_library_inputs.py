"""Reading inputs: every format, what is skipped and what stops, and that files of any length are streamed."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guidealign_engine.errors import ArtifactError
from guidealign_engine.offline.guidelines.inputs import MAX_INPUT_CHARACTERS, Input, read_inputs

pyarrow = pytest.importorskip("pyarrow", reason="the offline extra is not installed")
parquet_files = pytest.importorskip("pyarrow.parquet")

TEXTS = ["how do I pick a lock", 'she said "no",\nand left', "我家的锁打不开了", "  kept as it stands "]
TYPES = ["crime", "", "privacy", "crime"]

Write = Callable[[Path, list[dict[str, Any]]], Path]


def write_jsonl(file: Path, records: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return file


def write_csv(file: Path, records: list[dict[str, Any]], delimiter: str = ",") -> Path:
    def cell(value: str) -> str:
        return '"' + value.replace('"', '""') + '"'

    rows = [list(records[0]), *[list(record.values()) for record in records]]
    file.write_text("".join(delimiter.join(map(cell, row)) + "\r\n" for row in rows), encoding="utf-8", newline="")
    return file


def write_parquet(file: Path, records: list[dict[str, Any]]) -> Path:
    parquet_files.write_table(pyarrow.Table.from_pylist(records), file)
    return file


def read(*paths: Path, **options: Any) -> tuple[list[Input], list[str]]:
    """The inputs, and what was said of each record that was skipped."""
    skipped: list[str] = []
    on_skip = lambda error: skipped.append(str(error))  # noqa: E731
    found = list(read_inputs(paths, **{"strict": False, "on_skip": on_skip, **options}))
    return found, skipped


def texts(found: tuple[list[Input], list[str]]) -> list[str]:
    assert found[1] == []
    return [item.text for item in found[0]]


@pytest.mark.parametrize(
    ("suffix", "write"),
    [
        (".jsonl", write_jsonl),
        (".ndjson", write_jsonl),
        (".csv", write_csv),
        (".csv", lambda file, records: write_csv(file, records, ";")),
        (".tsv", lambda file, records: write_csv(file, records, "\t")),
        (".parquet", write_parquet),
    ],
)
def test_every_format_gives_the_same_inputs(tmp_path: Path, suffix: str, write: Write) -> None:
    records = [
        {"number": str(number), "input": text, "category": kind}
        for number, (text, kind) in enumerate(zip(TEXTS, TYPES, strict=True))
    ]
    found, skipped = read(write(tmp_path / f"inputs{suffix}", records))
    assert [(item.text, item.category) for item in found] == list(zip(TEXTS, TYPES, strict=True))
    assert skipped == []


def test_places_name_the_line_on_which_a_record_begins(tmp_path: Path) -> None:
    records = [{"input": text} for text in TEXTS[:3]]
    lines = [item.place for item in read(write_csv(tmp_path / "a.csv", records))[0]]
    assert lines == [f"{tmp_path / 'a.csv'}, line {number}" for number in (2, 3, 5)]
    rows = [item.place for item in read(write_parquet(tmp_path / "a.parquet", records))[0]]
    assert rows == [f"{tmp_path / 'a.parquet'}, row {number}" for number in (1, 2, 3)]


@pytest.mark.parametrize("name", ["inputs.txt", "inputs"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_text_files_hold_an_input_a_line(tmp_path: Path, name: str, mark: str) -> None:
    file = tmp_path / name
    file.write_bytes(f'{mark}one, "two"\r\n\n \t\n{{"input": 3}}\n  last'.encode())
    found, skipped = read(file, text_field="another", category_field="any")
    assert [item.text for item in found] == ['one, "two"', '{"input": 3}', "  last"]
    assert found[0].place.endswith("line 1")
    assert found[1].place.endswith("line 4")
    assert skipped == []


@pytest.mark.parametrize("write", [write_jsonl, write_csv])
def test_a_mark_at_the_start_is_no_part_of_the_first_record(tmp_path: Path, write: Write) -> None:
    file = write(tmp_path / ("a.csv" if write is write_csv else "a.jsonl"), [{"input": "first"}, {"input": "second"}])
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert texts(read(file)) == ["first", "second"]


def test_fields_are_chosen_or_found(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [{"text": "b", "prompt": "a", "question": "c", "risk": "crime"}])
    assert texts(read(file)) == ["a"]
    assert read(file, text_field="question", category_field="risk")[0][0] == Input(
        text="c", category="crime", place=f"{file}, line 1"
    )


def test_folders_are_read_in_the_order_of_names(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "b.jsonl", [{"input": "second"}])
    (tmp_path / "a.txt").write_text("first\n")
    (tmp_path / "README.md").write_text("no inputs\n")
    assert texts(read(tmp_path)) == ["first", "second"]


# Bad records.

BAD_LINES = [
    ('{"input": ', "line 2: not JSON: Expecting value at column 11"),
    ("[1]", "line 2: a list; each line must be a JSON object"),
    ("[" * 100_000, "line 2: not JSON"),
    ('{"words": "x"}', "field input: line 2: there is no input or prompt or text; the fields are words"),
    ('{"input": 3}', "field input: line 2: 3; must be a string that is not blank"),
    ('{"input": " "}', "field input: line 2: ' '; must be a string that is not blank"),
    ('{"input": null}', "field input: line 2: None; must be a string that is not blank"),
    ('{"input": "\\ud800{x}"}', "field input: line 2: half of a surrogate pair at character 0; must be valid Unicode"),
    ('{"input": "a\\u0000"}', "field input: line 2: a NUL at character 1; is the file UTF-16 without its mark?"),
    ('{"input": "x", "category": 4}', "field category: line 2: 4; must be a string that is not blank"),
    (
        json.dumps({"input": "x" * (MAX_INPUT_CHARACTERS + 1)}),
        f"field input: line 2: {MAX_INPUT_CHARACTERS + 1} characters; at most {MAX_INPUT_CHARACTERS} are allowed",
    ),
    (f'{{"input": "{"x" * (33 << 20)}"}}', f"line 2: over {32 << 20} bytes"),
]


@pytest.mark.parametrize(("line", "message"), BAD_LINES, ids=[message for _, message in BAD_LINES])
def test_a_bad_line_is_named_and_the_rest_is_read(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(f'{{"input": "first"}}\n{line}\n{{"input": "last"}}\n', encoding="utf-8")
    found, skipped = read(file)
    assert [item.text for item in found] == ["first", "last"]
    assert found[1].place.endswith("line 3")
    assert len(skipped) == 1
    assert skipped[0].startswith(f"{file}")
    assert message in skipped[0]
    with pytest.raises(ArtifactError) as raised:
        read(file, strict=True)
    assert str(raised.value) == skipped[0]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b"one,two,three", "line 3: 3 fields; the header has 2"),
        (b"one", "line 3: 1 fields; the header has 2"),
        (b'"one" more,crime', "line 3: not CSV: ',' expected after '\"'"),
        (b",crime", "field input: line 3: ''; must be a string that is not blank"),
        (b"y" * 200_000 + b",crime", "line 3: not CSV: field larger than field limit (131072)"),
        (b"y" * (33 << 20) + b",crime", f"line 3: over {32 << 20} bytes"),
    ],
    ids=lambda value: value[:12] if isinstance(value, bytes) else value,
)
def test_a_bad_row_is_named_and_the_rest_is_read(tmp_path: Path, row: bytes, message: str) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b'input,category\n"first",crime\n' + row + b"\nlast,privacy\n")
    found, skipped = read(file)
    assert [(item.text, item.category) for item in found] == [("first", "crime"), ("last", "privacy")]
    assert len(skipped) == 1
    assert message in skipped[0]
    with pytest.raises(ArtifactError, match="line 3"):
        read(file, strict=True)


def test_a_quote_that_is_never_closed_is_a_bad_record(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('input\nfirst\n"open\nand more\n', encoding="utf-8")
    found, skipped = read(file)
    assert [item.text for item in found] == ["first"]
    assert skipped == [f"{file}: line 3: not CSV: unexpected end of data"]


def test_a_bad_parquet_row_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", [{"input": "first"}, {"input": None}, {"input": "last"}])
    found, skipped = read(file)
    assert [item.text for item in found] == ["first", "last"]
    assert skipped == [f"{file}, field input: row 2: None; must be a string that is not blank"]


# Files that stop the reading, strict or not.


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.txt",
            "ok\ncaf\xe9 au lait\n".encode("latin-1"),
            "line 2: not UTF-8 (invalid continuation byte 0xe9 at byte 3",
        ),
        ("a.jsonl", b'{"input": "ok"}\n{"input": "\xff"}\n', "line 2: not UTF-8 (invalid start byte 0xff at byte 11"),
        (
            "a.csv",
            "input\nok\ncaf\xe9\n".encode("latin-1"),
            "line 3: not UTF-8 (invalid continuation byte 0xe9 at byte 3",
        ),
        ("a.txt", "ok\n".encode("utf-16"), "line 1: not UTF-8 but UTF-16, as the mark 0xfffe at byte 0 says"),
        ("a.txt", "ok\n".encode("utf-32"), "line 1: not UTF-8 but UTF-32, as the mark 0xfffe at byte 0 says"),
        ("a.csv", "input\nok\n".encode("utf-16"), "line 1: not UTF-8 but UTF-16"),
        ("a.txt", "ok\nok\n".encode("utf-16-le"), "is the file UTF-16 without its mark?"),
        ("a.txt", b"", "the file is empty"),
        ("a.txt", b"\n  \n", "the file is empty: there is no input in it"),
        ("a.jsonl", b"\xef\xbb\xbf", "the file is empty: there is no input in it"),
        ("a.csv", b"input,category\n", "the file is empty: there is no input in it"),
        ("a.csv", b"words;kind\nx;y\n", "field input: there is no input or prompt or text; the fields are words, kind"),
        ("a.parquet", b"PAR1 and no more", "this is no Parquet file that can be read"),
        ("a.xlsx", b"x", "the suffix is '.xlsx'; allowed: none, .txt, .jsonl, .ndjson, .csv, .tsv, .parquet"),
    ],
)
def test_a_file_that_cannot_be_read_stops(
    tmp_path: Path, strict: bool, name: str, content: bytes, message: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(ArtifactError) as raised:
        read(file, strict=strict)
    assert str(raised.value).startswith(str(file))
    assert message in str(raised.value)


def test_parquet_without_the_column_or_rows_stops(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", [{"input": "first"}])
    with pytest.raises(ArtifactError, match="field question: there is no 'question'; the fields are input"):
        read(file, text_field="question")
    parquet_files.write_table(pyarrow.table({"input": pyarrow.array([], pyarrow.string())}), file)
    with pytest.raises(ArtifactError, match="there is no input in it"):
        read(file)


def test_a_file_of_bad_records_only_stops_and_shows_the_first(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [{"words": "one"}, {"words": "two"}])
    with pytest.raises(ArtifactError, match=r"none of its records can be read; the first: .*line 1: there is no input"):
        read(file)


def test_every_path_is_checked_before_anything_is_read(tmp_path: Path) -> None:
    good = write_jsonl(tmp_path / "a.jsonl", [{"input": "first"}])
    for path, message in ((tmp_path / "nowhere", "there is no such file"), (tmp_path / "empty", "holds no file with")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(ArtifactError, match=message):
            read_inputs([good, path], strict=False, on_skip=pytest.fail)


PEAK_GROWTH = """
import resource, sys
from pathlib import Path
from guidealign_engine.offline.guidelines.inputs import read_inputs
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = read_inputs([Path(sys.argv[1])], strict=True, on_skip=print)
next(found)
before = peak()
print(1 + sum(1 for _ in found), (peak() - before) >> 10)
"""


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.parquet"])
def test_long_files_are_streamed(tmp_path: Path, run_python: Any, name: str) -> None:
    records = [{"input": f"{number} {random.Random(number).randbytes(800).hex()}"} for number in range(40_000)]
    file = tmp_path / name
    if name == "a.parquet":
        parquet_files.write_table(pyarrow.Table.from_pylist(records), file, row_group_size=2000)
    elif name == "a.txt":
        file.write_text("".join(record["input"] + "\n" for record in records))
    else:
        (write_csv if name == "a.csv" else write_jsonl)(file, records)
    assert file.stat().st_size > 32 << 20
    done = run_python(PEAK_GROWTH, file)
    assert done.stderr == ""
    count, megabytes = map(int, done.stdout.split())
    assert count == 40_000
    assert megabytes < 24


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_inputs_come_out_of_a_pipe_before_it_is_closed(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)
    opened: list[Any] = []
    writer = threading.Thread(target=lambda: opened.append(pipe.open("wb", buffering=0)))
    writer.start()
    found = read_inputs([pipe], strict=True, on_skip=pytest.fail)
    first: list[Input] = []
    reader = threading.Thread(target=lambda: first.append(next(found)))
    reader.start()
    writer.join(timeout=10)
    opened[0].write(b"first\n")
    reader.join(timeout=10)
    assert [item.text for item in first] == ["first"]
    opened[0].write(b"second\n")
    opened[0].close()
    assert [item.text for item in found] == ["second"]

"""Guideline files are read whole, or the first line that is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import toy

from guidealign_engine import ArtifactError, Kind
from guidealign_engine.guideline_files import MAX_TEXT_CHARACTERS, read_guidelines
from guidealign_engine.library import GuidelineRecord, columns_of

GOOD = {"id": "a-b", "kind": "safety", "title": "Locks", "text": "Refuse."}
REPOSITORY_LIBRARY = Path(__file__).parent.parent / "library" / "guidelines"


def write(file: Path, *lines: Any) -> Path:
    rows = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return file


def test_all_fields_of_a_record_are_read(tmp_path: Path) -> None:
    extra = {"category": "c", "examples": ["x", "y"], "tags": ["t"], "priority": 2, "source": "s", "note": "ignored"}
    assert read_guidelines([write(tmp_path / "a.jsonl", {**GOOD, **extra})]) == [
        GuidelineRecord(
            id="a-b",
            kind="safety",
            category="c",
            title="Locks",
            text="Refuse.",
            examples=("x", "y"),
            tags=("t",),
            priority=2.0,
            source="s",
        )
    ]


def test_optional_fields_have_defaults_and_blank_lines_do_not_count(tmp_path: Path) -> None:
    (record,) = read_guidelines([write(tmp_path / "a.jsonl", "", GOOD, "   ")])
    assert (record.category, record.examples, record.tags, record.priority, record.source) == ("", (), (), 0.0, "")


def test_files_are_read_in_the_order_given_and_folders_by_name(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    second = write(tmp_path / "folder" / "b.jsonl", {**GOOD, "id": "second"})
    write(tmp_path / "folder" / "a.jsonl", {**GOOD, "id": "first"})
    write(tmp_path / "folder" / "notes.txt", "not read")
    third = write(tmp_path / "z.jsonl", {**GOOD, "id": "third"})
    assert [record.id for record in read_guidelines([tmp_path / "folder", third])] == ["first", "second", "third"]
    assert [record.id for record in read_guidelines([third, second])] == ["third", "second"]


def test_the_default_kind_is_for_records_without_one(tmp_path: Path) -> None:
    without = {name: value for name, value in GOOD.items() if name != "kind"}
    file = write(tmp_path / "a.jsonl", {**without, "id": "x"}, GOOD)
    assert [record.kind for record in read_guidelines([file], default_kind=Kind.QUALITY)] == ["quality", "safety"]


BAD_LINES = [
    ("nothing", None, "not JSON: Expecting value at column 1"),
    ("[]", None, "a list; each line must be a JSON object"),
    ("5", None, "a int; each line must be a JSON object"),
    ({"id": None}, "id", "the field is missing"),
    ({"kind": None}, "kind", "the field is missing"),
    ({"text": None}, "text", "the field is missing"),
    ({"title": 5}, "title", "5; must be a string that is not blank"),
    ({"text": "  "}, "text", "'  '; must be a string that is not blank"),
    ({"id": ""}, "id", "''; must be a string that is not blank"),
    ({"category": ["x"]}, "category", "['x']; must be a string that is not blank"),
    ({"kind": "safty"}, "kind", "'safty'; allowed: safety, quality"),
    ({"text": "x" * 20_001}, "text", f"20001 characters; at most {MAX_TEXT_CHARACTERS} are allowed"),
    (
        {"title": "ab\ud800"},
        "title",
        "half of a surrogate pair at character 2; must be valid Unicode",
    ),
    ({"examples": "one"}, "examples", "'one'; must be a list of strings"),
    ({"examples": {"a": 1}}, "examples", "{'a': 1}; must be a list of strings"),
    ({"examples": ["x", 5]}, "examples", "holds something that is no string, or a blank one"),
    ({"tags": [" "]}, "tags", "holds something that is no string, or a blank one"),
    ({"priority": "high"}, "priority", "'high'; must be a finite number"),
    ({"priority": True}, "priority", "True; must be a finite number"),
    ({"priority": float("nan")}, "priority", "nan; must be a finite number"),
    ({"priority": float("inf")}, "priority", "inf; must be a finite number"),
]


@pytest.mark.parametrize(("line", "field", "rule"), BAD_LINES, ids=[rule[:60] for _, _, rule in BAD_LINES])
def test_the_first_wrong_line_is_named(
    tmp_path: Path, raises_exactly: Any, line: Any, field: str | None, rule: str
) -> None:
    bad = line if isinstance(line, str) else {**GOOD, "id": "other", **line}
    file = write(tmp_path / "a.jsonl", GOOD, "", bad)
    place = f"{file}, field {field}" if field else f"{file}"
    with raises_exactly(ArtifactError, f"{place}: line 3: {rule}") as caught:
        read_guidelines([file])
    assert (caught.value.file, caught.value.field) == (file, field)


@pytest.mark.parametrize("fields", [{"examples": ["\ud800"]}, {"tags": ["\udfff"]}, {"category": "\ud800"}], ids=ascii)
def test_no_field_may_hold_half_a_surrogate_pair(tmp_path: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match="half of a surrogate pair"):
        columns_of(read_guidelines([write(tmp_path / "a.jsonl", {**GOOD, **fields})]))


@pytest.mark.parametrize("priority", [1e39, -1e300, 10**400], ids=["1e39", "-1e300", "10**400"])
def test_a_priority_that_float32_cannot_hold_is_refused(tmp_path: Path, priority: float) -> None:
    file = write(tmp_path / "a.jsonl", {**GOOD, "priority": priority})
    with pytest.raises(ArtifactError, match=r"line 1: .*must be a finite number") as caught:
        read_guidelines([file])
    assert caught.value.field == "priority"


@pytest.mark.parametrize("opening", ["[", '{"a":'], ids=["list", "object"])
def test_a_deeply_nested_line_is_refused(tmp_path: Path, opening: str) -> None:
    with pytest.raises(ArtifactError, match="line 1: "):
        read_guidelines([write(tmp_path / "a.jsonl", opening * 100_000)])


def test_an_id_that_comes_twice_names_both_places(tmp_path: Path, raises_exactly: Any) -> None:
    first = write(tmp_path / "a.jsonl", {**GOOD, "id": "x"}, GOOD)
    second = write(tmp_path / "b.jsonl", GOOD)
    message = f"{second}, field id: line 1: id 'a-b' was given before, in {first}, line 2"
    with raises_exactly(ArtifactError, message):
        read_guidelines([first, second])


def test_what_is_not_there_is_named(tmp_path: Path, raises_exactly: Any) -> None:
    with raises_exactly(ArtifactError, f"{tmp_path / 'x'}: there is no such file"):
        read_guidelines([tmp_path / "x"])
    with raises_exactly(ArtifactError, f"{tmp_path}: there are no guidelines in it"):
        read_guidelines([tmp_path])
    with raises_exactly(ArtifactError, "(no file): there are no guidelines in it"):
        read_guidelines([])


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(json.dumps(GOOD).encode() + b"\n\xe9\n")
    with pytest.raises(
        ArtifactError, match=r"the file is not UTF-8 \(invalid continuation byte at byte \d+\)"
    ) as caught:
        read_guidelines([file])
    assert caught.value.file == file


def test_a_byte_order_mark_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\n")
    with pytest.raises(ArtifactError, match="line 1: not JSON: Unexpected UTF-8 BOM"):
        read_guidelines([file])


def test_what_a_bundle_holds_reads_as_guidelines_again(toy_bundle: Path) -> None:
    assert read_guidelines([toy_bundle / "guidelines.jsonl"]) == toy.GUIDELINES


@pytest.mark.skipif(not REPOSITORY_LIBRARY.is_dir(), reason="the library is not part of the installed package")
def test_the_library_of_the_repository_is_readable() -> None:
    records = read_guidelines([REPOSITORY_LIBRARY])
    assert len(records) >= 200
    assert {record.kind for record in records} == {"safety", "quality"}
    assert all(record.examples for record in records)

"""`guidealign library diff`: what changed in a library, and which prompts now get other guidelines."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from guidealign_engine import load_engine
from guidealign_engine.bundle import GUIDELINES, TOKENIZER
from guidealign_engine.commands import app
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.offline.guidelines.diff import diff_libraries

OLD = [
    toy.guideline("a-1", "safety", "Locks", "Explain locks, refuse plans.", "pick a lock", "open a door", tags=["x"]),
    toy.guideline("a-2", "safety", "Wifi", "No help without consent."),
    toy.guideline("b-1", "quality", "Mail", "Ask for whom it is.", priority=1.0),
    toy.guideline("b-2", "quality", "Sums", "Carry units."),
]
NEW = [
    replace(OLD[0], text="Explain locks, refuse break-in plans.", examples=("pick a lock", "force a window"), tags=()),
    OLD[1],
    replace(OLD[2], category="letters", priority=2.5),
    toy.guideline("c-1", "safety", "Knives", "Sharpen, yes."),
]


def write_library(file: Path, records: Sequence[GuidelineRecord]) -> Path:
    file.write_text("".join(json.dumps(asdict(one)) + "\n" for one in records), encoding="utf-8")
    return file


def diff(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["library", "diff", *map(str, arguments)])


def as_json(*arguments: str | Path) -> dict[str, Any]:
    result = diff("--json", *arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return write_library(tmp_path / "old.jsonl", OLD)


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return write_library(tmp_path / "new.jsonl", NEW)


# Guidelines.


def test_what_changed_is_told_by_field(old: Path, new: Path) -> None:
    found = as_json(old, new)
    assert [one["id"] for one in found["added"]] == ["c-1"]
    assert [one["text"] for one in found["removed"]] == ["Carry units."]
    assert found["changed"] == [
        {
            "id": "a-1",
            "fields": {
                "text": {"before": "Explain locks, refuse plans.", "after": "Explain locks, refuse break-in plans."},
                "examples": {"before": ["pick a lock", "open a door"], "after": ["pick a lock", "force a window"]},
                "tags": {"before": ["x"], "after": []},
            },
        },
        {"id": "b-1", "fields": {"priority": {"before": 1.0, "after": 2.5}}},
    ]
    assert found["moved"] == [{"id": "b-1", "fields": {"category": {"before": "b", "after": "letters"}}}]
    assert (found["unchanged"], found["reordered"], found["prompts"]) == (1, False, None)


def test_people_see_words_that_went_and_came(old: Path, new: Path) -> None:
    shown = diff(old, new).stdout
    for part in (
        "1 added, 1 removed, 2 changed, 1 moved, 1 unchanged",
        "+ c-1  Knives (safety, c)",
        "- b-2  Sums (quality, b)",
        "  text: Explain locks, refuse {+break-in+} plans.",
        "    - open a door\n    + force a window",
        "  category: b → letters",
        "  priority: 1 → 2.5",
    ):
        assert part in shown, shown


def test_the_order_of_a_library_counts(tmp_path: Path, old: Path) -> None:
    turned = write_library(tmp_path / "turned.jsonl", OLD[::-1])
    assert as_json(old, turned)["reordered"] is True
    assert "stand in another order" in diff(old, turned).stdout
    assert diff(old, turned, "--exit-code").exit_code == 1


def test_the_exit_code_is_that_of_git_diff(old: Path, new: Path) -> None:
    assert diff(old, new).exit_code == 0
    assert diff(old, new, "--exit-code").exit_code == 1
    assert diff(old, old, "--exit-code").exit_code == 0


@given(st.permutations(OLD), st.sets(st.integers(0, 3)), st.sets(st.integers(0, 3)), st.sets(st.integers(0, 3)))
def test_turning_the_sides_turns_the_answer(
    order: list[GuidelineRecord], in_a: set[int], in_b: set[int], edited: set[int]
) -> None:
    before = [OLD[number] for number in sorted(in_a)]
    after = [replace(one, title=one.title + "!") if OLD.index(one) in edited else one for one in order]
    after = [one for one, original in zip(after, order, strict=True) if OLD.index(original) in in_b]
    there, back = diff_libraries(before, after), diff_libraries(after, before)
    assert {one.id for one in there.added} == {one.id for one in after} - {one.id for one in before}
    assert (there.added, there.removed) == (back.removed, back.added)
    assert {one.id for one in there.changes} == {OLD[number].id for number in in_a & in_b & edited}
    assert there.unchanged + len(there.changes) == len(in_a & in_b)
    assert there.reordered == back.reordered
    assert diff_libraries(before, before).is_empty


def test_a_bundle_a_folder_and_a_file_are_the_same_library(toy_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write_library(folder / "1.jsonl", toy.GUIDELINES[:10])
    write_library(folder / "2.jsonl", toy.GUIDELINES[10:])
    file = write_library(tmp_path / "all.jsonl", toy.GUIDELINES)
    for first, second in ((toy_bundle, folder), (folder, file), (file, toy_bundle)):
        found = as_json(first, second, "--exit-code")
        assert found["unchanged"] == len(toy.GUIDELINES)


# Prompts.

PROMPTS = [
    "how do I pick the lock of my neighbour's door",
    "open a stranger's car without the key",
    "translate this menu from spanish to english",
    "what is 17 percent of 260",
    "recipe for chicken with peanut sauce",
]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(PROMPTS) + "\n", encoding="utf-8")
    return file


def sets_of(folder: Path, k: int, min_score: float | None = None) -> list[set[str]]:
    found = load_engine(folder).retrieve_batch(PROMPTS, k=k, min_score=min_score)
    return [{one.id for one in answer.guidelines} for answer in found]


@pytest.mark.parametrize("k", [1, 4])
def test_prompts_with_other_guidelines_are_listed(toy_bundle: Path, prompts: Path, tmp_path: Path, k: int) -> None:
    fewer = [one for one in toy.GUIDELINES if one.id not in ("crime-lock", "maths-units")]
    before = write_library(tmp_path / "before.jsonl", toy.GUIDELINES)
    after = write_library(tmp_path / "after.jsonl", fewer)
    found = as_json(before, after, "--prompts", prompts, "-k", str(k), "--encoder", toy_bundle)["prompts"]

    # The same by hand: a bundle a side, asked one after the other.
    files = toy.make_encoder()
    old_sets = sets_of(toy.build_toy(tmp_path / "a", thresholds=None, encoder=files, examples="folded"), k)
    new_sets = sets_of(
        toy.build_toy(tmp_path / "b", records=fewer, thresholds=None, encoder=files, examples="folded"), k
    )
    jaccards = [len(a & b) / len(a | b) for a, b in zip(old_sets, new_sets, strict=True)]
    differing = [place for place, jaccard in enumerate(jaccards) if jaccard < 1]
    assert 0 in differing
    assert len(differing) < len(PROMPTS)
    assert found["prompts"] == len(PROMPTS)
    assert found["unchanged_share"] == round(1 - len(differing) / len(PROMPTS), 4)
    assert found["mean_jaccard"] == round(sum(jaccards) / len(PROMPTS), 4)
    assert [change["prompt"] for change in found["changed"]] == [PROMPTS[place] for place in differing]
    for change, place in zip(found["changed"], differing, strict=True):
        assert {one["id"] for one in change["came"]} == new_sets[place] - old_sets[place]
        assert {one["id"] for one in change["went"]} == old_sets[place] - new_sets[place]
        assert set(change["kept"]) == old_sets[place] & new_sets[place]
        assert change["jaccard"] == round(jaccards[place], 4)


def test_two_bundles_are_asked_as_they_are(toy_bundle: Path, prompts: Path, tmp_path: Path) -> None:
    other = toy.build_toy(tmp_path / "other", records=toy.GUIDELINES[1:])
    found = as_json(toy_bundle, other, "--prompts", prompts)["prompts"]
    old_sets, new_sets = sets_of(toy_bundle, 6), sets_of(other, 6)
    expected = [prompt for prompt, a, b in zip(PROMPTS, old_sets, new_sets, strict=True) if a != b]
    assert [change["prompt"] for change in found["changed"]] == expected
    assert found["asked"] == "two bundles as they are, at most 6 guidelines a prompt by their own thresholds"
    # Without thresholds six come for every prompt, and there is always one more to fall back on.
    all_six = as_json(toy_bundle, other, "--prompts", prompts, "--min-score", "-1")["prompts"]
    for change in all_six["changed"]:
        assert len(change["came"]) == len(change["went"])
    assert len(all_six["changed"]) >= len(expected) > 0


def test_a_bundle_beside_files_adds_no_difference_of_its_own(toy_bundle: Path, prompts: Path, tmp_path: Path) -> None:
    file = write_library(tmp_path / "all.jsonl", toy.GUIDELINES)
    found = as_json(toy_bundle, file, "--prompts", prompts, "--encoder", toy_bundle, "--exit-code")["prompts"]
    assert (found["unchanged_share"], found["mean_jaccard"], found["changed"]) == (1.0, 1.0, [])
    assert found["asked"] == "both libraries embedded by the student, the best 6 guidelines a prompt"


def test_a_changed_text_in_the_same_set_is_counted(toy_bundle: Path, prompts: Path, tmp_path: Path) -> None:
    reworded = [replace(one, text=one.text.replace(",", ";")) for one in toy.GUIDELINES]
    before = write_library(tmp_path / "before.jsonl", toy.GUIDELINES)
    after = write_library(tmp_path / "after.jsonl", reworded)
    options = ("--prompts", prompts, "--encoder", toy_bundle, "-k", "1")
    found = as_json(before, after, *options)["prompts"]
    sets = sets_of(toy.build_toy(tmp_path / "a", thresholds=None), 1)
    texts = {one.id: one.text for one in toy.GUIDELINES}
    assert found["changed"] == []
    assert found["reworded"] == sum("," in texts[id] for ids in sets for id in ids) > 0
    assert (
        f"{found['reworded']} of those with the same guidelines read a changed text"
        in diff(before, after, *options).stdout
    )


def test_people_see_what_came_and_went(toy_bundle: Path, prompts: Path, tmp_path: Path) -> None:
    before = write_library(tmp_path / "before.jsonl", toy.GUIDELINES)
    after = write_library(tmp_path / "after.jsonl", toy.GUIDELINES[1:])
    conversation = json.dumps([{"role": "user", "content": PROMPTS[0]}, {"role": "assistant", "content": "no"}])
    prompts.write_text(f"{PROMPTS[2]}\n{conversation}\n", encoding="utf-8")
    shown = diff(before, after, "--prompts", prompts, "--encoder", toy_bundle, "-k", "1").stdout
    assert "prompts: 50.0 % of 2 get the same guidelines, mean Jaccard 0.500" in shown
    assert f"conversation of 2: {PROMPTS[0]}\n    - crime-lock  Locks of others (safety)\n    + " in shown
    prompts.write_text("\n", encoding="utf-8")
    assert "there were no prompts" in diff(before, after, "--prompts", prompts, "--encoder", toy_bundle).stdout


def test_the_starter_bundle_lends_its_encoder(tmp_path: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    before = write_library(tmp_path / "before.jsonl", toy.GUIDELINES)
    after = write_library(tmp_path / "after.jsonl", toy.GUIDELINES[1:])
    changed = as_json(before, after, "--prompts", prompts, "-k", "2")["prompts"]["changed"]
    assert [change["prompt"] for change in changed][:2] == PROMPTS[:2]
    assert {change["went"][0]["id"] for change in changed} == {"crime-lock"}
    assert list(scratch.iterdir()) == []


# Bad input.


def test_a_prompt_that_cannot_be_read_is_named(toy_bundle: Path, prompts: Path) -> None:
    prompts.write_text('fine\n[{"role": "boss", "content": "x"}]\n', encoding="utf-8")
    result = diff(toy_bundle, toy_bundle, "--prompts", prompts)
    assert result.exit_code == 1
    assert f"error: {prompts}, line 2: message 0 has role 'boss'" in result.stderr


def test_a_library_that_cannot_be_read_is_an_error(bundle_copy: Path, old: Path, tmp_path: Path) -> None:
    missing = diff(old, tmp_path / "nowhere")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert f"error: {tmp_path / 'nowhere'}: there is no such file" in missing.stderr
    with (bundle_copy / TOKENIZER).open("ab") as damaged:
        damaged.write(b" ")
    assert f"error: {bundle_copy / TOKENIZER}, field bytes: the file has" in diff(bundle_copy, old).stderr
    shutil.copy(old, bundle_copy / GUIDELINES)
    assert diff(bundle_copy, bundle_copy).exit_code == 1


@pytest.mark.parametrize(
    "options", [["--prompts", "nowhere.txt"], ["--min-score", "0.5"], ["--encoder", "x"], ["-k", "0"]]
)
def test_a_wrong_call_ends_with_2(old: Path, options: list[str]) -> None:
    assert diff(old, old, *options).exit_code == 2

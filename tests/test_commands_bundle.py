"""`guidealign bundle`: made, explained, verified."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import toy
from command_runs import Run, assert_error, records, write_lines

from guidealign_engine import load_engine
from guidealign_engine.bundle import GUIDELINES, TOKENIZER, read_manifest

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


def test_an_index_is_tuned_on_the_queries_that_are_given(
    run: Run, toy_bundle: Path, policy: Path, tmp_path: Path
) -> None:
    asked = write_lines(tmp_path / "asked.jsonl", [{"text": text} for text in sorted(set(toy.SENTENCES))[:25]])
    options = ("bundle", "build", "--encoder", toy_bundle, "--guidelines", policy, "--index", "hnsw", "--json")
    (without,) = records(run(*options, "--out", tmp_path / "without"))
    (tuned,) = records(run(*options, "--queries", asked, "--recall", "0.5", "--out", tmp_path / "tuned"))
    assert (without["index"]["target"], without["index"]["queries"]) != (0.5, 25)
    assert (tuned["index"]["target"], tuned["index"]["queries"]) == (0.5, 25)
    assert tuned["index"]["recall"] >= 0.5
    refused = run(*options, "--queries", tmp_path / "nowhere.jsonl", "--out", tmp_path / "no")
    assert refused.exit_code == 1
    assert "nowhere.jsonl" in refused.stderr
    assert not (tmp_path / "no").exists()

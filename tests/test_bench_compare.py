"""`python -m bench.compare`: which changes count, which do not, and what is no result file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench.compare import Verdict, compare, main
from hypothesis import given
from hypothesis import strategies as st

REPOSITORY = Path(__file__).parents[1]
MACHINE = {"processor": "AMD EPYC", "cores": 2, "vector_kernel": "avx2", "load_average_before": 0.1}


def figure(name: str, p50: float, *, unit: str = "us", noisy: bool = False, **more: Any) -> dict[str, Any]:
    return {"name": name, "unit": unit, "p50": p50, "p99": 2 * p50, "spread": 0.1, "noisy": noisy, **more}


def result(*figures: dict[str, Any], machine: Any = MACHINE) -> dict[str, Any]:
    return {"machine": machine, "figures": list(figures)}


def run(tmp_path: Path, old: Any, new: Any, *options: str) -> int:
    paths = []
    for name, content in (("old", old), ("new", new)):
        file = tmp_path / f"{name}.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        paths.append(str(file))
    with pytest.raises(SystemExit) as ended:
        main([*paths, *options])
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        (figure("a", 100), figure("a", 115), Verdict.SAME),
        (figure("a", 100), figure("a", 115.1), Verdict.WORSE),
        (figure("a", 100), figure("a", 84), Verdict.BETTER),
        (figure("a", 100, unit="prompts/s"), figure("a", 84, unit="prompts/s"), Verdict.WORSE),
        (figure("a", 100, unit="prompts/s"), figure("a", 116, unit="prompts/s"), Verdict.BETTER),
        (figure("a", 10, unit="x"), figure("a", 8, unit="x"), Verdict.WORSE),
        (figure("a", 4, unit="x", better="less"), figure("a", 5, unit="x", better="less"), Verdict.WORSE),
        (figure("a", 0.9, unit="share"), figure("a", 0.5, unit="share"), Verdict.WORSE),
        (figure("a", 1, unit="bytes"), figure("a", 2, unit="bytes"), Verdict.WORSE),
        (figure("a", 100, noisy=True), figure("a", 500), Verdict.NOISY),
        (figure("a", 100), figure("a", 500, noisy=True), Verdict.NOISY),
    ],
)
def test_a_figure_is_worse_beyond_the_margin_only(old: Any, new: Any, verdict: Verdict) -> None:
    (change,) = compare(result(old), result(new), margin=0.15)
    assert change.verdict is verdict


@given(st.floats(1e-3, 1e9), st.floats(0, 0.9), st.sampled_from(["us", "prompts/s", "x", "bytes"]))
def test_a_figure_is_never_worse_than_itself(p50: float, margin: float, unit: str) -> None:
    (change,) = compare(result(figure("a", p50, unit=unit)), result(figure("a", p50, unit=unit)), margin=margin)
    assert (change.verdict, change.ratio) == (Verdict.SAME, 1.0)


def test_exit_code_and_table_name_what_became_slower(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = result(figure("short", 100), figure("long", 200), figure("gone", 1))
    new = result(figure("short", 150), figure("long", 201), figure("more", 1))
    assert run(tmp_path, old, new) == 1
    shown = capsys.readouterr().out
    assert "1 worse by more than 15%: short" in shown
    lines = {line.split()[0]: line for line in shown.splitlines() if line}
    assert "1.50" in lines["short"]
    assert lines["short"].endswith("worse")
    assert lines["gone"].endswith("only in OLD")
    assert lines["more"].endswith("only in NEW")
    assert run(tmp_path, old, new, "--margin", "0.5") == 0


def test_json_holds_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, result(figure("a", 100), figure("b", 1)), result(figure("a", 200)), "--json") == 1
    shown = json.loads(capsys.readouterr().out)
    assert shown["worse"] == ["a"]
    assert [(each["name"], each["verdict"], each["ratio"]) for each in shown["figures"]] == [
        ("a", "worse", 2.0),
        ("b", "gone", None),
    ]


def test_other_machines_are_refused_unless_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = result(figure("a", 1)), result(figure("a", 1), machine={**MACHINE, "cores": 4})
    assert run(tmp_path, old, new) == 2
    assert "not the same machine: cores 2 and 4; --any-machine" in capsys.readouterr().err
    assert run(tmp_path, old, new, "--any-machine") == 0
    assert run(tmp_path, old, {"figures": old["figures"]}) == 2
    assert "does not name its machine" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "this is no JSON"),
        ("[]", 'an object with a list "figures"'),
        ('{"figures": []}', "that is not empty"),
        ('{"figures": [3]}', r"figures[0] is 3; it must be an object"),
        (json.dumps(result(figure("a", -1))), "figures[0].p50 is -1; it must be a number from 0 on"),
        (json.dumps(result({**figure("a", 1), "noisy": None})), "figures[0].noisy is None; it must be true or false"),
        (json.dumps(result(figure("a", 1, unit="ells"))), "unit is 'ells'; allowed: MB"),
        (json.dumps(result(figure("a", 1, better="up"))), "better is 'up'; allowed"),
        (json.dumps(result(figure("a", 1), figure("a", 2))), "figures of the same name: a"),
        (json.dumps(result(figure("b", 1))), "share no figure"),
        (json.dumps(result(figure("a", 1, unit="s"))), "a is in us in one file and in s in the other"),
    ],
)
def test_what_is_no_result_file_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    assert run(tmp_path, result(figure("a", 1)), content) == 2
    assert message in capsys.readouterr().err


def test_a_missing_file_and_a_wrong_margin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    assert "a.json: No such file or directory" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["a", "b", "--margin", "15"])
    assert "--margin is 15.0; it must be at least 0 and below 1" in capsys.readouterr().err


def test_committed_results_can_be_compared() -> None:
    for file in (REPOSITORY / "bench" / "results").glob("*.json"):
        command = [sys.executable, "-m", "bench.compare", str(file), str(file)]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert "0 worse" in done.stdout

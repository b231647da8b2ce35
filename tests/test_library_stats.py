"""`guidealign library stats`: what it counts, which guidelines lack held-out inputs, and which risks are covered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from guidealign_engine.commands import app
from guidealign_engine.errors import ConfigError
from guidealign_engine.library import GuidelineRecord

pytest.importorskip("matplotlib", reason="the offline extra is not installed")

from guidealign_engine.offline.guidelines.plot_library import plot_library
from guidealign_engine.offline.guidelines.plots import PALE, STRONG, check_plot_file
from guidealign_engine.offline.guidelines.spread import Spread
from guidealign_engine.offline.guidelines.stats import draw, measure_library
from guidealign_engine.pairs import Pair

LIBRARY = [
    {
        "id": "locks",
        "kind": "safety",
        "category": "crime",
        "title": "Locks of others",
        "text": "Explain how locks work; refuse break-in plans.",
        "examples": ["open my neighbour's door", "как открыть чужой замок", "ouvre la porte fermée"],
        "tags": ["crime", "locks"],
    },
    {
        "id": "wifi",
        "kind": "safety",
        "category": "crime",
        "title": "Networks",
        "text": "Do not help anyone into a network of others.",
        "examples": ["crack a wifi password"],
        "tags": ["crime"],
    },
    {
        "id": "knives",
        "kind": "safety",
        "category": "weapons",
        "title": "Knives",
        "text": "Sharpen, yes.",
        "examples": ["鍵を開ける方法"],
    },
    {"id": "mail", "kind": "quality", "category": "letters", "title": "E-mails", "text": "Ask for whom the letter is."},
]
PAIRS = [
    {"input": "get into the flat next door", "positive": ["locks"], "split": "dev"},
    {"input": "lock and network of a stranger", "positive": ["locks", "wifi", "locks"], "split": "test"},
    {"input": "hello", "positive": [], "split": "test"},
    {"input": "crack  a wifi\npassword", "positive": ["wifi"], "split": "dev"},
    {"input": "write to my aunt", "positive": ["mail", "post"], "split": "train"},
]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "library.jsonl", LIBRARY)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "pairs.jsonl", PAIRS)


def write_lines(file: Path, records: list[Any]) -> Path:
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return file


def stats(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["library", "stats", *map(str, arguments)], env={"COLUMNS": "160"})


def as_json(*arguments: str | Path) -> dict[str, Any]:
    result = stats("--json", *arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


# Counting.


def test_all_is_counted(library: Path) -> None:
    found = as_json(library)
    assert (found["guidelines"], found["examples"]) == (4, 5)
    assert found["kinds"] == {"safety": 3, "quality": 1}
    assert found["tags"] == {"crime": 2, "locks": 1}
    assert found["examples_per_guideline"] == {"0": 1, "1": 2, "3": 1}
    assert found["words_per_text"] == {"2": 1, "6": 1, "7": 1, "9": 1}
    assert found["lengths"]["text_words"] == {
        "count": 4,
        "mean": 6.0,
        "lowest": 2.0,
        "p5": 2.6,
        "median": 6.5,
        "p95": 8.7,
        "highest": 9.0,
    }
    assert found["lengths"]["title_characters"]["highest"] == len("Locks of others")
    assert found["held_out"] is None
    assert found["coverage"] is None


def test_categories_come_by_kind_and_size(library: Path) -> None:
    rows = as_json(library)["categories"]
    assert [(row["kind"], row["category"], row["guidelines"], row["examples"]) for row in rows] == [
        ("safety", "crime", 2, 4),
        ("safety", "weapons", 1, 1),
        ("quality", "letters", 1, 0),
    ]
    assert rows[0]["mean_words"] == 8.0
    assert rows[0]["held_out"] is rows[0]["lacking"] is rows[0]["complete"] is None


def test_scripts_are_told_by_letters(library: Path) -> None:
    scripts = as_json(library)["scripts"]
    assert scripts["scripts"] == {"Latin": 3, "Cyrillic": 1, "Japanese": 1}
    assert scripts["beyond_ascii"] == 0.6
    assert scripts["beyond_latin"] == 0.4


def test_held_out_inputs_and_what_lacks_one(library: Path, pairs: Path) -> None:
    found = as_json(library, "--pairs", pairs)
    held_out = found["held_out"]
    assert held_out["inputs"] == {"train": 1, "dev": 2, "test": 2}
    assert held_out["without_guideline"] == {"train": 0, "dev": 0, "test": 1}
    assert held_out["with_several"] == {"train": 1, "dev": 0, "test": 1}
    assert held_out["lacking"] == {"dev": ["knives", "mail"], "test": ["knives", "mail"]}
    assert held_out["unknown"] == {"post": 1}
    assert held_out["indexed"] == ["crack  a wifi\npassword"]
    crime, weapons, _ = found["categories"]
    assert (crime["held_out"], crime["lacking"], crime["complete"]) == ({"dev": 2, "test": 2}, {"dev": 0, "test": 0}, 2)
    assert (weapons["held_out"], weapons["lacking"], weapons["complete"]) == (
        {"dev": 0, "test": 0},
        {"dev": 1, "test": 1},
        0,
    )


def test_people_see_the_same(library: Path, pairs: Path) -> None:
    shown = stats(library, "--pairs", pairs).stdout
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    for line in (
        "guidelines 4: safety 3, quality 1",
        "held out 5: train 1, dev 2, test 2",
        "lacking dev 2: knives, mail",
        "unknown ids 1 in pairs: post 1",
        "not held out 1 dev and test inputs are examples too: crack a wifi password",
        "safety crime 2 4 8 2 2 - -",
        "safety weapons 1 1 2 0 0 1 1",
        "text words 6 2 2.6 6.5 8.7 9",
    ):
        assert line in lines, shown


def test_folders_are_read_and_nothing_steers_the_terminal(tmp_path: Path) -> None:
    write_lines(tmp_path / "one.jsonl", LIBRARY[:1])
    write_lines(tmp_path / "two.jsonl", [{**LIBRARY[3], "category": "\x1b[2J", "tags": ["[bold]"]}])
    shown = stats(tmp_path).stdout
    assert "2: safety 1, quality 1" in shown
    assert "\x1b" not in shown
    assert "[bold] 1" in shown


def test_a_spread_of_nothing_is_all_zero() -> None:
    assert Spread.of([]) == Spread(count=0, mean=0.0, lowest=0.0, p5=0.0, median=0.0, p95=0.0, highest=0.0)


# A sample to read.


def test_a_sample_is_drawn_by_its_seed(tmp_path: Path) -> None:
    many = [{**LIBRARY[3], "id": f"mail-{number}"} for number in range(50)]
    library = write_lines(tmp_path / "many.jsonl", many)

    def drawn(*options: str) -> list[str]:
        result = stats(library, "--json", "--sample", *options)
        assert result.exit_code == 0, result.output
        return [json.loads(line)["id"] for line in result.stdout.splitlines()]

    assert drawn("9") == drawn("9", "--seed", "0")
    assert len(set(drawn("9"))) == 9
    assert drawn("9") != drawn("9", "--seed", "1")
    assert sorted(drawn("99")) == sorted(record["id"] for record in many)


def test_every_guideline_is_as_likely_to_be_drawn() -> None:
    records = [GuidelineRecord(id=str(n), kind="safety", category="", title="t", text="t") for n in range(5)]
    counts = np.zeros(5)
    for seed in range(1000):
        for record in draw(records, 2, seed=seed):
            counts[int(record.id)] += 1
    # 400 expected of each, standard deviation 15.5.
    assert np.abs(counts - 400).max() < 70


def test_people_read_a_sample_whole(library: Path) -> None:
    shown = stats(library, "--sample", "4").stdout
    for record in LIBRARY:
        for text in (record["title"], record["text"], *record.get("examples", [])):  # type: ignore[misc]
            assert text in shown
    assert "wifi · safety · crime · crime" in shown


def test_a_sample_takes_no_other_work(library: Path, pairs: Path) -> None:
    result = stats(library, "--sample", "2", "--pairs", pairs)
    assert result.exit_code == 2
    assert "leave out --pairs, --coverage and" in result.stderr


# Errors.


def test_a_bad_record_names_line_and_field(library: Path) -> None:
    with library.open("a", encoding="utf-8") as lines:
        lines.write('{"id": "x", "kind": "rude", "title": "t", "text": "t"}\n')
    result = stats(library)
    assert result.exit_code == 1
    assert f"error: {library}, field kind: line 5: 'rude'; allowed: safety, quality" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"positive": []}', ", field input: line 3: missing; must be a string that is not blank"),
        (b'{"input": "x", "positive": "mail"}', ", field positive: line 3: 'mail'; must be a list of guideline ids"),
        (
            b'{"input": "x", "positive": [], "split": "exam"}',
            ", field split: line 3: 'exam'; must be one of train, dev",
        ),
        (b'["x"]', ": line 3: a list; each line must be a JSON object"),
        (b'{"input": "caf\xe9"}', ": the file is not UTF-8 (invalid continuation byte at byte "),
    ],
)
def test_a_bad_pair_names_line_and_field(library: Path, tmp_path: Path, line: bytes, message: str) -> None:
    pairs = tmp_path / "pairs.jsonl"
    fine = json.dumps({"input": "two\u2028lines", "positive": {"mail": 3}}, ensure_ascii=False).encode()
    pairs.write_bytes(fine + b"\n")
    assert as_json(library, "--pairs", pairs)["held_out"]["inputs"]["train"] == 1
    pairs.write_bytes(fine + b"\n\n" + line)
    result = stats(library, "--pairs", pairs)
    assert result.exit_code == 1
    assert f"error: {pairs}{message}" in result.stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("library.bmp", "its name must end in one of .pdf, .png, .svg"),
        ("nowhere/library.png", "there is no folder"),
    ],
)
def test_a_plot_that_cannot_be_written_is_refused_first(library: Path, tmp_path: Path, name: str, message: str) -> None:
    result = stats(library, "--plot", tmp_path / name)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "counting" not in result.stderr
    with pytest.raises(ConfigError, match=message):
        check_plot_file(tmp_path / name)


def test_without_matplotlib_one_line_says_what_to_install(run_python: Callable[..., Any], library: Path) -> None:
    code = "import sys; sys.modules['matplotlib'] = None; from guidealign_engine.__main__ import main; main()"
    plain = run_python(code, "library", "stats", library, "--json")
    assert json.loads(plain.stdout)["guidelines"] == 4
    drawn = run_python(code, "library", "stats", library, "--plot", library.with_suffix(".png"))
    assert drawn.returncode == 1
    assert drawn.stderr == (
        'error: drawing a plot needs matplotlib: install matplotlib with pip install "guidealign-engine[offline]"\n'
    )


# The picture.


def shares_of_colours(file: Path) -> dict[str, float]:
    """The share of a picture's pixels that have each of our colours."""
    from matplotlib.colors import to_rgb
    from matplotlib.image import imread

    pixels = imread(file)[:, :, :3]
    colours = {
        f"{name} {kind}": code for name, codes in (("strong", STRONG), ("pale", PALE)) for kind, code in codes.items()
    }
    return {name: float((np.abs(pixels - to_rgb(code)).max(axis=2) < 0.01).mean()) for name, code in colours.items()}


def test_the_picture_shows_what_lacks_held_out_inputs(library: Path, pairs: Path, tmp_path: Path) -> None:
    assert stats(library, "--plot", tmp_path / "all.png").exit_code == 0
    whole = shares_of_colours(tmp_path / "all.png")
    assert whole["strong safety"] > whole["strong quality"] > 0.001
    assert whole["pale safety"] == whole["pale quality"] == 0
    assert stats(library, "--pairs", pairs, "--plot", tmp_path / "lacking.png").exit_code == 0
    lacking = shares_of_colours(tmp_path / "lacking.png")
    # Two of three safety guidelines have both splits, the one of quality has none.
    assert lacking["strong safety"] == pytest.approx(2 * lacking["pale safety"], rel=0.1)
    assert lacking["pale quality"] > 0.001
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "all.png",
        "lacking.png",
        "library.jsonl",
        "pairs.jsonl",
    ]


@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_awkward_names_are_drawn_as_they_stand(tmp_path: Path, suffix: str) -> None:
    records = [
        GuidelineRecord(id=str(number), kind="safety", category=category, title="t", text="t")
        for number, category in enumerate(["$x^{", "", "法律", "a" * 200, *(f"c{n}" for n in range(80))])
    ]
    file = tmp_path / f"library{suffix}"
    plot_library(measure_library(records, [Pair("x", ("0",), "dev")]), file)
    assert file.read_bytes()[:4] in (b"%PDF", b"<?xm")


def test_a_failed_plot_leaves_what_was_there(library: Path, tmp_path: Path) -> None:
    (tmp_path / "taken.png").mkdir()
    result = stats(library, "--plot", tmp_path / "taken.png")
    assert result.exit_code == 1
    assert "error: " in result.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["library.jsonl", "taken.png"]

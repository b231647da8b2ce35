"""Calibration: what it fits, what it promises about the inputs it saw, and what an engine then shows."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import toy
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner, Result

from guidealign_engine import ConfigError, Engine, load_engine
from guidealign_engine.bundle import MANIFEST, open_bundle, publish_bundle, read_manifest
from guidealign_engine.calibration import Calibration, _fit, _scores_by_kind, calibrate, calibrated
from guidealign_engine.calibration_report import auc
from guidealign_engine.commands import app
from guidealign_engine.pairs import Pair
from guidealign_engine.verification import verify_bundle

SMALL_TALK = [f"{word} {number}" for number in range(10) for word in ("xy", "yz", "zx")]
PAIRS = [
    *(Pair(text, (g.id,), "dev") for g in toy.GUIDELINES for text in (g.text, *g.examples)),
    *(Pair(text, (), "dev") for text in SMALL_TALK),
]


@pytest.fixture(scope="module")
def plain_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return load_engine(toy.build_toy(tmp_path_factory.mktemp("plain") / "bundle", thresholds=None))


@pytest.fixture(scope="module")
def found(plain_engine: Engine) -> Calibration:
    return calibrate(plain_engine, PAIRS, false_alarms=0.1)


@pytest.fixture(scope="module")
def tuned_engine(found: Calibration, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = tmp_path_factory.mktemp("tuned")
    bundle = open_bundle(toy.build_toy(folder / "plain", thresholds=None))
    parts = {part: bundle.read(part) for part in bundle.manifest.parts}
    publish_bundle(folder / "bundle", calibrated(bundle.manifest, found), parts)
    return load_engine(folder / "bundle")


def needs(pair: Pair, kind: str) -> bool:
    return any(toy.GUIDELINES[toy.POSITION[id]].kind == kind for id in pair.positive)


def test_the_risk_model_is_a_logistic_regression_with_balanced_classes(plain_engine: Engine) -> None:
    _, fits = _scores_by_kind(plain_engine, [pair.input for pair in PAIRS])
    wanted = np.array([needs(pair, "safety") for pair in PAIRS])
    model = _fit(fits, wanted)
    # The library's loss sums over inputs, so its C is one over our ridge times their number.
    library = LogisticRegression(C=1 / (1e-3 * len(PAIRS)), class_weight="balanced", tol=1e-10, max_iter=1000)
    library.fit(fits, wanted)
    # It gives each class the weight of half of all inputs, we give it a half of them as well.
    np.testing.assert_allclose([model.safety, model.quality], library.coef_[0], atol=2e-3)
    assert model.bias == pytest.approx(library.intercept_[0], abs=2e-3)
    assert model.safety > 0 > model.quality


def test_what_it_promises_is_what_an_engine_shows(tuned_engine: Engine, found: Calibration) -> None:
    retrievals = tuned_engine.retrieve_batch([pair.input for pair in PAIRS], k=20, duplicate_ratio=None)
    thresholds = found.thresholds
    for kind in ("safety", "quality"):
        shown = np.array([any(g.kind == kind for g in retrieval.guidelines) for retrieval in retrievals])
        needed = np.array([needs(pair, kind) for pair in PAIRS])
        # The relative cut may leave out what the shares count, never the other way round.
        assert shown[needed].mean() <= found.quality[f"{kind}_found_at_threshold"] + 1e-3
        assert shown[needed].mean() >= found.quality[f"{kind}_found_at_threshold"] - 0.1
        assert shown[~needed].mean() <= found.quality[f"{kind}_false_alarms_at_threshold"] + 1e-3
    assert found.quality["safety_false_alarms_at_threshold"] <= 0.1
    for retrieval in retrievals:
        assert retrieval.risk is not None
        kinds = {guideline.kind for guideline in retrieval.guidelines}
        assert "safety" not in kinds or retrieval.risk >= thresholds.min_risk - 1e-6
        assert "quality" not in kinds or retrieval.risk <= thresholds.max_risk + 1e-6


def test_fewer_false_alarms_cost_guidelines(plain_engine: Engine, found: Calibration) -> None:
    strict = calibrate(plain_engine, PAIRS, false_alarms=0.0)
    assert strict.quality["safety_false_alarms_at_threshold"] == 0.0
    assert strict.thresholds.min_risk >= found.thresholds.min_risk
    assert strict.quality["safety_found_at_threshold"] <= found.quality["safety_found_at_threshold"]


def test_a_score_of_ones_own_switches_the_risk_bounds_off(tuned_engine: Engine, plain_engine: Engine) -> None:
    prompts = [pair.input for pair in PAIRS]
    for min_score in (-1.0, 0.3):
        tuned = tuned_engine.retrieve_batch(prompts, min_score=min_score)
        if min_score == -1.0:
            assert all(len(retrieval.positions) == 6 for retrieval in tuned)
        assert {g.kind for retrieval in tuned for g in retrieval.guidelines} == {"safety", "quality"}
        assert all(retrieval.risk is not None for retrieval in tuned)
    assert plain_engine.retrieve_batch(prompts)[0].risk is None


def test_a_filter_leaves_no_risk(tuned_engine: Engine) -> None:
    prompts = [pair.input for pair in PAIRS if needs(pair, "safety")][:10]
    filtered = tuned_engine.retrieve_batch(prompts, kinds=["quality"], min_score=-1.0)
    assert all(retrieval.risk is None for retrieval in filtered)
    assert all(g.kind == "quality" for retrieval in filtered for g in retrieval.guidelines)


def test_an_empty_prompt_has_no_risk(tuned_engine: Engine) -> None:
    assert tuned_engine.retrieve_batch([""])[0].risk == 0.0


def test_too_few_inputs_are_refused(plain_engine: Engine) -> None:
    with pytest.raises(ConfigError, match="0 inputs need a safety guideline and 30 need none; at least 30 of each"):
        calibrate(plain_engine, PAIRS[-30:])


def test_a_risk_model_without_meaning_is_refused(found: Calibration, tmp_path: Path) -> None:
    folder = toy.build_toy(tmp_path / "bundle", thresholds=None)
    toy.rewrite_manifest(folder, risk={**asdict(found.risk), "bias": float("nan")})
    with pytest.raises(ValueError, match=r"risk\.bias is nan; it must lie between") as error:
        load_engine(folder)
    assert MANIFEST in str(error.value)


# Of a bundle that is there


@pytest.fixture
def plain_bundle(tmp_path: Path) -> Path:
    return toy.build_toy(tmp_path / "plain", thresholds=None)


def write_pairs(file: Path, pairs: list[Pair]) -> Path:
    lines = [{"input": pair.input, "positive": list(pair.positive), "split": pair.split} for pair in pairs]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["build", "calibrate", *map(str, arguments)])


def test_a_bundle_is_calibrated_and_reported_on(plain_bundle: Path, found: Calibration, tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs.jsonl", PAIRS)
    out = tmp_path / "out"
    done = run(plain_bundle, "--pairs", pairs, "--out", out, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    manifest = read_manifest(out)
    assert (manifest.thresholds, manifest.risk) == (found.thresholds, found.risk)
    assert manifest.quality["risk_auc"] == report["all"]["auc"]
    assert report["thresholds"] == asdict(found.thresholds)
    before = open_bundle(plain_bundle)
    assert all(before.read(part) == open_bundle(out).read(part) for part in before.manifest.parts)
    for folder in (plain_bundle, out):
        assert len(list(verify_bundle(folder))) == 5
    # Calibrated once more, from what it is now, and in its place.
    again = run(out, "--pairs", pairs, "--out", out)
    assert again.exit_code == 0, again.output
    assert read_manifest(out) == manifest
    assert f"{len(PAIRS)}" in again.stdout
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out", "pairs.jsonl", "plain"]


def test_the_report_counts_what_the_finished_bundle_shows(plain_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(plain_bundle, "--pairs", write_pairs(tmp_path / "pairs.jsonl", PAIRS), "--out", out, "--json")
    report = json.loads(done.stdout)
    retrievals = load_engine(out).retrieve_batch([pair.input for pair in PAIRS])
    shown = np.array([any(g.kind == "safety" for g in retrieval.guidelines) for retrieval in retrievals])
    needed = np.array([needs(pair, "safety") for pair in PAIRS])
    lengths = np.array([len(pair.input) for pair in PAIRS])
    risks = np.array([retrieval.risk for retrieval in retrievals])
    quarters = np.array_split(np.argsort(lengths, kind="stable"), 4)
    assert len(report["by_length"]) == 4
    for band, rows in zip([report["all"], *report["by_length"]], [np.arange(len(PAIRS)), *quarters], strict=True):
        assert (band["shortest"], band["longest"]) == (lengths[rows].min(), lengths[rows].max())
        assert (band["inputs"], band["need_safety"]) == (len(rows), needed[rows].sum())
        idle = rows[~needed[rows]]
        if not needed[rows].any():
            assert (band["safety_found"], band["auc"]) == (None, None)
            continue
        assert band["safety_found"] == pytest.approx(shown[rows][needed[rows]].mean(), abs=1e-4)
        assert band["false_alarms"] == pytest.approx(shown[idle].mean(), abs=1e-4)
        low, high = band["false_alarms_interval"]
        assert 0 <= low <= band["false_alarms"] <= high <= 1
        assert band["auc"] == pytest.approx(roc_auc_score(needed[rows], risks[rows]), abs=1e-4)
        assert band["min_risk_alone"] == pytest.approx(np.quantile(risks[idle], 0.9), abs=1e-4)


def test_ties_count_half_in_the_area_under_the_curve() -> None:
    rng = np.random.default_rng(0)
    risks, wanted = rng.integers(5, size=200) / 4, rng.random(200) < 0.3
    assert auc(risks, wanted) == pytest.approx(roc_auc_score(wanted, risks), abs=1e-4)
    assert auc(risks, np.ones(200, dtype=bool)) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ([Pair("XY 0!", (), "test")], "1 dev inputs are test inputs as well, such as 'xy 0'"),
        ([Pair("new", ("crime-knitting",), "dev")], "name 1 guidelines that the library lacks, such as crime-knitting"),
        (None, "2 pairs and none of split dev"),
    ],
    ids=["a-test-input", "an-unknown-guideline", "no-dev"],
)
def test_pairs_that_cannot_calibrate_are_refused(
    plain_bundle: Path, tmp_path: Path, change: list[Pair] | None, message: str
) -> None:
    pairs = [Pair("a", (), "train"), Pair("b", (), "test")] if change is None else [*PAIRS, *change]
    done = run(plain_bundle, "--pairs", write_pairs(tmp_path / "pairs.jsonl", pairs), "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_test_split_changes_nothing(plain_bundle: Path, tmp_path: Path) -> None:
    others = [Pair("what a test asks", ("crime-wifi",), "test"), Pair("what is trained on", (), "train")]
    for name, pairs in (("without", PAIRS), ("with", [*PAIRS, *others])):
        file = write_pairs(tmp_path / f"{name}.jsonl", pairs)
        assert run(plain_bundle, "--pairs", file, "--out", tmp_path / name).exit_code == 0
    assert read_manifest(tmp_path / "with") == read_manifest(tmp_path / "without")

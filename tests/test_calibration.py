"""Calibration: what it fits, what it promises about the inputs it saw, and what an engine then shows."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import toy
from sklearn.linear_model import LogisticRegression

from guidealign_engine import ConfigError, Engine, load_engine
from guidealign_engine.bundle import MANIFEST, open_bundle, publish_bundle
from guidealign_engine.calibration import Calibration, _fit, _scores_by_kind, calibrate, calibrated
from guidealign_engine.pairs import Pair

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
    _, means = _scores_by_kind(plain_engine, [pair.input for pair in PAIRS])
    wanted = np.array([needs(pair, "safety") for pair in PAIRS])
    model = _fit(means, wanted)
    # The library's loss sums over inputs, so its C is one over our ridge times their number.
    library = LogisticRegression(C=1 / (1e-3 * len(PAIRS)), class_weight="balanced", tol=1e-10, max_iter=1000)
    library.fit(means, wanted)
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

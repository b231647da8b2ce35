"""What an engine is opened with: configuration, device, packages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from finding import ALL, LOCK, found

from guidealign_engine import (
    ConfigError,
    DeviceError,
    Engine,
    EngineConfig,
    Fold,
    RerankConfig,
    SearchConfig,
    load_engine,
)

# Engine options


def test_priority_counts_as_much_as_the_configuration_says(toy_bundle: Path, toy_engine: Engine) -> None:
    unweighted = load_engine(toy_bundle, config=EngineConfig(rerank=RerankConfig(prior_weight=0.0)))
    text = "I want to end my life tonight"
    with_priority = toy_engine.retrieve_batch([text], **ALL)[0].guidelines[0]
    without = unweighted.retrieve_batch([text], **ALL)[0].guidelines[0]
    assert with_priority.id == without.id == "self-harm-crisis"
    assert with_priority.score - without.score == pytest.approx(0.1, abs=1e-6)


def test_the_smooth_fold_is_the_log_of_the_mean_of_exponents(toy_bundle: Path, toy_engine: Engine) -> None:
    config = EngineConfig(rerank=RerankConfig(fold=Fold.SMOOTH, smooth_temperature=0.2, prior_weight=0.0))
    smooth = load_engine(toy_bundle, config=config)
    library = smooth.library
    query = smooth._encoder.embed(smooth._tokenizer.encode([LOCK]))[0].astype(np.float64)
    products = library.vectors.astype(np.float64) @ query
    retrieval = smooth.retrieve_batch([LOCK], **ALL)[0]
    for position, score in zip(retrieval.positions, retrieval.scores, strict=True):
        own = products[library.owners == position]
        assert score == pytest.approx(0.2 * np.log(np.mean(np.exp(own / 0.2))), abs=1e-5)


def test_a_pool_of_one_candidate_finds_one_guideline(toy_bundle: Path) -> None:
    engine = load_engine(toy_bundle, config=EngineConfig(search=SearchConfig(pool_size=1, pool_per_k=1)))
    assert found(engine, LOCK, k=1, **ALL) == ["crime-lock"]


def test_int8_vectors_find_the_same_first_guideline(tmp_path: Path, toy_engine: Engine) -> None:
    engine = load_engine(toy.build_toy(tmp_path / "int8", store="int8"))
    prompts = [record.examples[0] for record in toy.GUIDELINES]
    for half, byte in zip(
        toy_engine.retrieve_batch(prompts, **ALL), engine.retrieve_batch(prompts, **ALL), strict=True
    ):
        assert byte.positions[0] == half.positions[0]
        assert byte.scores[0] == pytest.approx(half.scores[0], abs=0.01)  # a step of int8 is 1/127 of the largest part


@pytest.mark.parametrize("device", ["gpu", "CPU", "cuda:", "cuda:x", "tpu", ""])
def test_an_unknown_device_is_refused(toy_bundle: Path, raises_exactly: Any, device: str) -> None:
    with raises_exactly(ConfigError, f'device is {device!r}; allowed: "cpu", "cuda", "cuda:N", "cuda:N,M", "auto"'):
        load_engine(toy_bundle, device=device)


@pytest.mark.parametrize("device", [None, 0, ["cpu"]], ids=repr)
def test_a_device_that_is_no_string_is_refused(toy_bundle: Path, raises_exactly: Any, device: Any) -> None:
    with raises_exactly(ConfigError, f'device is {device!r}; allowed: "cpu", "cuda", "cuda:N", "cuda:N,M", "auto"'):
        load_engine(toy_bundle, device=device)


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_missing_gpu_is_an_error_and_no_fallback(toy_bundle: Path, device: str) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(DeviceError, match=f"^device '{device}' was asked for, but this onnxruntime offers only "):
        load_engine(toy_bundle, device=device)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("onnxruntime", "encoding needs onnxruntime: install onnxruntime with"),
        ("faiss", "searching needs faiss: install faiss-cpu with"),
    ],
)
def test_a_missing_package_names_the_extra(run_python: Any, toy_bundle: Path, module: str, message: str) -> None:
    code = f"""
import sys
sys.modules[{module!r}] = None
from guidealign_engine import MissingDependencyError, load_engine
try:
    load_engine(sys.argv[1])
except MissingDependencyError as error:
    assert isinstance(error, ImportError)
    print(error.extra, error, sep="|")
"""
    done = run_python(code, toy_bundle)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f'cpu|{message} pip install "guidealign-engine[cpu]"\n'

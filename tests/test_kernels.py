"""The kernels against their slow twins, for every kernel that this processor has."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator

import numpy as np
import oracles
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Indel

from guidealign_engine import _native

KERNELS = _native.available_kernels()
LETTERS = st.sampled_from("ab é字 ")
HALF_VALUES = st.sampled_from([0.0, 0.25, -0.25, 0.5, -0.5, 0.125, 1.0, -1.0])


@pytest.fixture(params=KERNELS)
def kernel(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _native.active_kernel()
    _native.use_kernel(request.param)
    yield request.param
    _native.use_kernel(before)


@st.composite
def libraries(draw: st.DrawFn) -> oracles.ToyLibrary:
    count = draw(st.integers(1, 7))
    dimension = draw(st.sampled_from([1, 3, 8, 31, 32, 33, 70]))
    values = st.lists(HALF_VALUES, min_size=dimension, max_size=dimension)
    vectors = [
        np.array(draw(st.lists(values, min_size=1, max_size=3)), dtype=np.float32).reshape(-1, dimension)
        for _ in range(count)
    ]
    return oracles.ToyLibrary(
        vectors=vectors,
        texts=draw(st.lists(st.text(LETTERS, max_size=90), min_size=count, max_size=count)),
        kinds=draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)),
        priority=draw(st.lists(st.sampled_from([0.0, 0.5, -1.0]), min_size=count, max_size=count)),
    )


@pytest.mark.parametrize("name", KERNELS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_rerank_gives_the_scores_of_its_twin_to_the_last_bit(name: str, data: st.DataObject) -> None:
    library = data.draw(libraries())
    dimension = library.vectors[0].shape[1]
    total = sum(len(rows) for rows in library.vectors)
    rows = data.draw(st.integers(1, 3))
    seed = data.draw(st.integers(0, 2**16))
    queries = np.random.default_rng(seed).standard_normal((rows, dimension)).astype(np.float32)
    pool = data.draw(st.integers(1, 6))
    candidates = np.array(
        data.draw(st.lists(st.integers(-1, total - 1), min_size=rows * pool, max_size=rows * pool)), dtype=np.int64
    ).reshape(rows, pool)
    options = _native.RerankOptions(smooth=False, smooth_temperature=0.1, prior_weight=0.25)
    _native.use_kernel(name)
    try:
        guidelines, scores, matched, counts = _native.rerank(library.native, queries, candidates, options)
    finally:
        _native.use_kernel(KERNELS[0])
    for row in range(rows):
        expected = oracles.rerank(queries[row], candidates[row].tolist(), library, 0.25)
        count = counts[row]
        assert guidelines[row, :count].tolist() == [guideline for guideline, _ in expected]
        assert scores[row, :count].tolist() == [float(score) for _, score in expected]
        assert (guidelines[row, count:] == -1).all()
        assert (matched[row, count:] == -1).all()


@pytest.mark.parametrize("name", KERNELS)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_select_takes_what_its_twin_takes(name: str, data: st.DataObject) -> None:
    library = data.draw(libraries())
    count = len(library.texts)
    order = data.draw(st.permutations(range(count)))
    values = data.draw(st.lists(st.sampled_from([0.9, 0.5, 0.5, 0.1, -0.3]), min_size=count, max_size=count))
    ranked = list(zip(order, sorted(values, reverse=True), strict=True))
    rules = {
        "k": data.draw(st.integers(1, 5)),
        "relative_cut": data.draw(st.sampled_from([0.0, 0.5, 1.0])),
        "duplicate_ratio": data.draw(st.sampled_from([0.3, 0.5, 1.0])),
    }
    min_score = (data.draw(st.sampled_from([-1.0, 0.4])), data.draw(st.sampled_from([-1.0, 0.6])))
    allowed = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    costs = data.draw(st.lists(st.integers(0, 9), min_size=count, max_size=count))
    budget = data.draw(st.integers(0, 20))
    model = data.draw(st.sampled_from([None, (0.0, 5.0, -5.0), (-1.0, 2.0, 3.0)]))
    temperature = data.draw(st.sampled_from([0.0, 0.1, 1.0]))
    bounds = data.draw(st.sampled_from([(0.0, 1.0), (0.45, 0.55), (0.9, 0.95)]))
    options = _native.SelectOptions(
        min_safety_score=min_score[0],
        min_quality_score=min_score[1],
        diversity=0.0,
        risk=None
        if model is None
        else _native.RiskModel(bias=model[0], safety=model[1], quality=model[2], temperature=temperature),
        min_risk=bounds[0],
        max_risk=bounds[1],
        **rules,
    )
    risk = oracles.risk(ranked, library.kinds, model[0], model[1:], temperature) if model else math.nan
    # Beside a bound, a rounding would decide.
    assume(model is None or min(abs(risk - bound) for bound in bounds) > 1e-4)
    shown = (
        math.inf if risk < bounds[0] else min_score[0],
        math.inf if risk > bounds[1] else min_score[1],
    )
    _native.use_kernel(name)
    try:
        taken, _, _, counts, risks = _native.select(
            library.native,
            np.array([[guideline for guideline, _ in ranked]], dtype=np.int32),
            np.array([[score for _, score in ranked]], dtype=np.float32),
            np.zeros((1, count), dtype=np.int64),
            np.array([count], dtype=np.int32),
            np.array(allowed, dtype=np.uint8),
            np.array(costs, dtype=np.int32),
            budget,
            options,
        )
    finally:
        _native.use_kernel(KERNELS[0])
    expected = oracles.select(ranked, library, min_score=shown, allowed=allowed, costs=costs, budget=budget, **rules)
    assert taken[0, : counts[0]].tolist() == expected
    assert risks[0] == pytest.approx(risk, abs=1e-5, nan_ok=True)


@settings(max_examples=200, deadline=None)
@given(st.text(LETTERS, max_size=400), st.text(LETTERS, max_size=400))
def test_indel_ratio_is_the_twins_and_rapidfuzzs(left: str, right: str) -> None:
    alphabet = sorted(set(left + right))
    codes = [np.array([alphabet.index(c) for c in text], dtype=np.uint16) for text in (left, right)]
    found = _native.indel_ratio(codes[0], codes[1], max(1, len(alphabet)))
    assert found == pytest.approx(Indel.normalized_similarity(left, right), abs=1e-12)
    if left or right:
        assert found == 2 * oracles.lcs_length(left, right) / (len(left) + len(right))


def test_a_symbol_outside_the_alphabet_is_refused() -> None:
    symbols = np.array([3], dtype=np.uint16)
    with pytest.raises(ValueError, match="below alphabet_size"):
        _native.indel_ratio(symbols, symbols, 3)


def test_an_unknown_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match=r'kernel "abacus" is not available here; allowed: .*scalar'):
        _native.use_kernel("abacus")


@pytest.fixture(scope="module")
def one_guideline() -> _native.Library:
    return oracles.ToyLibrary([np.array([[1.0, 0.0]], dtype=np.float32)], ["only"], [0], [0.0]).native


OPTIONS = _native.RerankOptions(smooth=False, smooth_temperature=0.1, prior_weight=0.0)


def test_rerank_names_the_query_that_is_not_finite(kernel: str, one_guideline: _native.Library) -> None:
    queries = np.array([[1.0, 0.0], [np.nan, 0.0]], dtype=np.float32)
    with pytest.raises(ValueError, match="query 1 and guideline 0 have no finite score"):
        _native.rerank(one_guideline, queries, np.zeros((2, 1), dtype=np.int64), OPTIONS)


def test_rerank_refuses_a_vector_that_is_not_stored(one_guideline: _native.Library) -> None:
    with pytest.raises(ValueError, match="candidate 5 is outside the 1 stored vectors"):
        _native.rerank(one_guideline, np.ones((1, 2), dtype=np.float32), np.array([[5]], dtype=np.int64), OPTIONS)


def test_an_array_of_another_type_is_refused_and_not_copied(one_guideline: _native.Library) -> None:
    with pytest.raises(TypeError, match="incompatible function arguments"):
        _native.rerank(one_guideline, np.ones((1, 2)), np.zeros((1, 1), dtype=np.int64), OPTIONS)


def test_the_gil_is_released_while_the_kernels_work() -> None:
    """Another Python thread advances while one long call runs."""
    rng = np.random.default_rng(0)
    vectors = [rng.standard_normal((2000, 64)).astype(np.float16).astype(np.float32)]
    library = oracles.ToyLibrary(vectors, ["text"], [0], [0.0]).native
    queries = rng.standard_normal((400, 64)).astype(np.float32)
    candidates = np.zeros((400, 1), dtype=np.int64)
    running = threading.Event()
    running.set()
    ticks = 0

    def count() -> None:
        nonlocal ticks
        while running.is_set():
            ticks += 1

    counter = threading.Thread(target=count)
    counter.start()
    before = ticks
    _native.rerank(library, queries, candidates, OPTIONS)
    during = ticks - before
    running.clear()
    counter.join()
    assert during > 100

"""Exact scores as a GPU computes them, run on the CPU, against the C++ core."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import toy
from hypothesis import given, settings
from hypothesis import strategies as st

from guidealign_engine.bundle import open_bundle
from guidealign_engine.config import RerankConfig
from guidealign_engine.gpu.encoder import DeviceVectors
from guidealign_engine.gpu.rerank import CandidateBuffer, GpuRerank
from guidealign_engine.gpu.sessions import Place, uploaded
from guidealign_engine.library import Library
from guidealign_engine.rerank import rerank

CPU = Place("cpu")
STORES = [("float16", "folded"), ("int8", "folded"), ("float16", "each"), ("int8", "each")]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Library]:
    folder = tmp_path_factory.mktemp("rerank")
    return {
        (store, examples): Library.from_bundle(
            open_bundle(toy.build_toy(folder / f"{store}-{examples}", store=store, examples=examples))
        )
        for store, examples in STORES
    }


@pytest.fixture(scope="module")
def kernels(libraries: dict[tuple[str, str], Library]) -> dict[tuple[str, str], GpuRerank]:
    return {key: GpuRerank(library, RerankConfig(), CPU) for key, library in libraries.items()}


def scored(kernel: GpuRerank, queries: np.ndarray, candidates: np.ndarray) -> object:
    found = CandidateBuffer(*candidates.shape, CPU)
    found.ids.update_inplace(candidates)
    return kernel.scores(DeviceVectors(uploaded(queries, CPU), len(queries)), found)


@pytest.mark.parametrize("key", STORES, ids="-".join)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_device_ranks_as_the_core_does(key, libraries, kernels, data) -> None:  # type: ignore[no-untyped-def]
    library = libraries[key]
    rows, pool = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 12))
    ids = st.integers(-1, len(library.vectors) - 1)
    drawn = data.draw(st.lists(ids, min_size=rows * pool, max_size=rows * pool))
    candidates = np.array(drawn, dtype=np.int64).reshape(rows, pool)
    queries = np.random.default_rng(data.draw(st.integers(0, 999))).standard_normal((rows, toy.DIMENSION))
    queries = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
    ours, core = scored(kernels[key], queries, candidates), rerank(queries, candidates, library, RerankConfig())
    assert ours.counts.tolist() == core.counts.tolist()
    # Sums of the same float32 products in another order; guidelines this close may change places.
    np.testing.assert_allclose(ours.scores, core.scores, rtol=0, atol=1e-6)
    for row in range(rows):
        by_core = dict(zip(core.guidelines[row].tolist(), core.scores[row].tolist(), strict=True))
        for guideline, score in zip(ours.guidelines[row].tolist(), ours.scores[row].tolist(), strict=True):
            assert by_core[guideline] == pytest.approx(score, abs=1e-6)
    assert (ours.guidelines.dtype, ours.matched.dtype) == (core.guidelines.dtype, core.matched.dtype)


def test_ties_put_the_lower_guideline_first_and_name_its_first_vector() -> None:
    half = [0.5, 0.5, 0.5, 0.5]
    made = oracles.ToyLibrary(
        vectors=[np.array([half] * count, dtype=np.float32) for count in (1, 3, 2)],
        texts=["a", "b", "c"],
        kinds=[0, 0, 0],
        priority=[0.0, 0.0, 1.0],
    )
    ids = np.array([[5, 3, 0, -1, 2, 1]], dtype=np.int64)
    query = np.array([half], dtype=np.float32)
    core = rerank(query, ids, made, RerankConfig())  # type: ignore[arg-type]
    assert core.guidelines.tolist() == [[2, 0, 1, -1, -1, -1]]
    ours = scored(GpuRerank(stored(made), RerankConfig(), CPU), query, ids)
    for name in ("guidelines", "scores", "matched", "counts"):
        assert getattr(ours, name).tolist() == getattr(core, name).tolist()


def stored(made: oracles.ToyLibrary) -> Library:
    """The columns that are scored, as a bundle would hold them."""
    counts = [len(rows) for rows in made.vectors]
    columns = {
        "vectors": np.concatenate(made.vectors).astype(np.float16),
        "scales": np.empty(0, dtype=np.float32),
        "owners": np.repeat(np.arange(len(counts)), counts).astype(np.int32),
        "vector_offsets": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        "priority": np.array(made.priority, dtype=np.float32),
    }
    others = dict.fromkeys(Library.__dataclass_fields__.keys() - columns.keys())
    return Library(**columns, **others)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_query_that_is_not_finite_is_refused(kernels: dict[tuple[str, str], GpuRerank], value: float) -> None:
    queries = np.ones((2, toy.DIMENSION), dtype=np.float32)
    queries[1, 3] = value
    candidates = np.arange(6, dtype=np.int64).reshape(2, 3)
    with pytest.raises(ValueError, match=r"^query 1 has no finite score; queries, vectors and priorities must be fini"):
        scored(kernels["float16", "folded"], queries, candidates)


def test_other_folds_and_very_large_batches_are_left_to_the_core(kernels: dict[tuple[str, str], GpuRerank]) -> None:
    assert GpuRerank.computes(RerankConfig())
    assert not GpuRerank.computes(RerankConfig(fold="smooth"))  # type: ignore[arg-type]
    kernel = kernels["float16", "folded"]
    assert kernel.takes(256, 48)
    assert not kernel.takes(256, 8000 * toy.DIMENSION)

"""What becomes of a bundle's index on a GPU, by its twin on the CPU, and whether it fits there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
import toy
from numpy.typing import NDArray

from guidealign_engine.bundle import Bundle, open_bundle
from guidealign_engine.devices import Spread
from guidealign_engine.errors import DeviceError
from guidealign_engine.gpu.index import MOST_CANDIDATES, GpuIndex, cloneable, size_of
from guidealign_engine.gpu.memory import IndexSize, choose_spread, vectors_fit
from guidealign_engine.index import CandidateIndex
from guidealign_engine.library import Library

GB = 1_000_000_000


@pytest.fixture(scope="module", params=["float16", "int8"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Library]:
    folder = toy.build_toy(tmp_path_factory.mktemp("gpu") / "bundle", store=request.param)
    bundle = open_bundle(folder)
    return bundle, Library.from_bundle(bundle)


def unit_vectors(count: int, dimension: int, seed: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def on_gpu(bundle: Bundle, library: Library) -> GpuIndex:
    """The index that would be cloned, left on the CPU."""
    on_cpu = CandidateIndex.from_bundle(bundle, nprobe=None, threads=1)
    return GpuIndex(cloneable(faiss, bundle, library, on_cpu), on_cpu=on_cpu, size=bundle.manifest.vectors)


def scores(library: Library, queries: NDArray[np.float32]) -> NDArray[np.float32]:
    vectors = library.vectors.astype(np.float32)
    return queries @ (vectors * library.scales[:, None] if len(library.scales) else vectors).T


def test_a_small_index_becomes_an_exact_one_of_the_stored_vectors(opened: tuple[Bundle, Library]) -> None:
    bundle, library = opened
    index = on_gpu(bundle, library)
    queries = unit_vectors(9, toy.DIMENSION, 3)
    assert index.kind == "flat"
    found = index.search(queries, 5)
    every = scores(library, queries)
    # Texts that are the same have the same vectors, in either order.
    np.testing.assert_allclose(np.take_along_axis(every, found, 1), -np.sort(-every, axis=1)[:, :5], atol=1e-6)
    assert all(len(set(row)) == 5 for row in found.tolist())


def test_more_candidates_than_vectors_are_all_vectors(opened: tuple[Bundle, Library]) -> None:
    bundle, library = opened
    found = on_gpu(bundle, library).search(unit_vectors(2, toy.DIMENSION, 4), 100_000)
    assert found.shape == (2, bundle.manifest.vectors)
    assert sorted(found[0].tolist()) == list(range(bundle.manifest.vectors))


def test_a_search_by_addresses_is_the_search(opened: tuple[Bundle, Library]) -> None:
    index = on_gpu(*opened)
    queries = unit_vectors(4, toy.DIMENSION, 5)
    ids, distances = np.empty((4, 6), dtype=np.int64), np.empty((4, 6), dtype=np.float32)
    index.search_in_place(queries.ctypes.data, 4, 6, distances.ctypes.data, ids.ctypes.data)
    assert ids.tolist() == index.search(queries, 6).tolist()
    assert (np.diff(distances, axis=1) <= 0).all()


def test_a_filtered_search_is_the_cpu_index_s(opened: tuple[Bundle, Library]) -> None:
    bundle, library = opened
    index = on_gpu(bundle, library)
    allowed = np.zeros(bundle.manifest.vectors, dtype=np.uint8)
    allowed[3:9] = 1
    bits = np.packbits(allowed, bitorder="little")
    found = index.search(unit_vectors(3, toy.DIMENSION, 6), 4, allowed_vectors=bits)
    assert set(found.ravel().tolist()) <= set(range(3, 9))
    assert not index.takes(4, bits)
    assert index.takes(4, None)


def test_an_ivf_pq_index_stays_what_it_is_and_the_gpu_s_rules_hold() -> None:
    vectors = unit_vectors(10_000, 32, 1)
    index = faiss.index_factory(32, "IVF16,PQ2np", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    on_cpu = CandidateIndex(index, nprobe=4, threads=1, source=Path("index.faiss"))
    twin: Any = cloneable(faiss, None, None, on_cpu)  # type: ignore[arg-type]
    # What FAISS's GPU code asks of an IVF-PQ index.
    assert twin is index
    assert twin.by_residual
    assert twin.polysemous_ht == 0
    assert twin.pq.nbits == 8
    assert isinstance(faiss.downcast_index(twin.quantizer), faiss.IndexFlat)
    assert size_of(twin) == IndexSize(10_000, 32, code_bytes=2, lists=16)
    queries = unit_vectors(20, 32, 2)
    twin.nprobe = 4
    gpu = GpuIndex(faiss.clone_index(twin), on_cpu=on_cpu, size=10_000)
    assert gpu.kind == "ivf_pq"
    assert gpu.search(queries, 10).tolist() == on_cpu.search(queries, 10).tolist()
    assert not gpu.takes(MOST_CANDIDATES + 1, None)
    assert gpu.search(queries, MOST_CANDIDATES + 1).shape == (20, MOST_CANDIDATES + 1)


def test_sizes_on_a_gpu_are_those_of_halves_and_of_codes_with_ids() -> None:
    assert IndexSize(1_000_000, 256).bytes_on_gpu == 512_000_000
    codes = IndexSize(1_000_000, 256, code_bytes=64, lists=4000)
    assert codes.bytes_on_gpu == int(1_000_000 * 72 * 1.05) + 4 * 4256 * 256


@pytest.mark.parametrize(
    ("gigabytes", "free", "asked", "taken"),
    [
        (10, [80], Spread.AUTO, Spread.REPLICATE),
        (10, [80, 80], Spread.AUTO, Spread.REPLICATE),
        (100, [80, 80], Spread.AUTO, Spread.SHARD),
        (10, [80, 80], Spread.SHARD, Spread.SHARD),
    ],
)
def test_an_index_is_copied_where_it_fits_and_parted_where_not(
    gigabytes: int, free: list[int], asked: Spread, taken: Spread
) -> None:
    size = IndexSize(gigabytes * GB // 512, 256)
    assert choose_spread(size, [each * GB for each in free], asked) is taken


def test_an_index_larger_than_the_card_is_refused_with_both_sizes(raises_exactly: Any) -> None:
    with raises_exactly(
        DeviceError,
        'the index takes 102.40 GB and the card has 79.19 GB free for it; use device="cpu", several cards, such as '
        'device="cuda:0,1" with spread="shard", or an index of kind ivf_pq (guidealign build index)',
    ):
        choose_spread(IndexSize(200_000_000, 256), [80 * GB], Spread.AUTO)
    with raises_exactly(
        DeviceError,
        'the index takes 79.38 GB and the fullest of 2 cards has 23.19 GB free for it; use device="cpu", or an index '
        "of fewer bytes a vector (guidealign build index)",
    ):
        choose_spread(IndexSize(1_050_000_000, 256, code_bytes=64), [24 * GB, 80 * GB], Spread.SHARD)


def test_vectors_fit_with_room_to_compute_in() -> None:
    assert vectors_fit(10 * GB, 11 * GB)
    assert not vectors_fit(10 * GB, 10 * GB)

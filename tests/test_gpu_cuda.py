"""What only a GPU can show: that the stages run there, and that their answer is the CPU's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy

from guidealign_engine import DeviceError, Engine, load_engine
from guidealign_engine.bundle import open_bundle
from guidealign_engine.config import SearchConfig
from guidealign_engine.devices import Spread, choose_device
from guidealign_engine.gpu.driver import free_bytes
from guidealign_engine.gpu.index import GpuIndex, gpu_resources
from guidealign_engine.index import CandidateIndex, import_faiss
from guidealign_engine.index_kinds import index_maker
from guidealign_engine.library import Library

pytestmark = pytest.mark.gpu
EVERYTHING = {"min_score": -1.0, "duplicate_ratio": None}
PROMPTS = [text for record in toy.GUIDELINES for text in record.examples]


@pytest.fixture(scope="module", autouse=True)
def gpu() -> str:
    device = choose_device("auto")
    if not device.gpus:
        pytest.skip(f"no GPU can be used: {device.why}")
    return str(device)


@pytest.fixture(scope="module")
def cuda_engine(gpu: str, toy_bundle: Path) -> Engine:
    return load_engine(toy_bundle, device=gpu)


def assert_close(ours: Any, core: Any) -> None:
    """The same scores up to rounding, and the same guidelines but for those that rounding cannot tell apart."""
    for left, right in zip(ours, core, strict=True):
        assert left.scores == pytest.approx(right.scores, abs=2e-3)
        by_core = dict(zip(right.positions, right.scores, strict=True))
        last = min(right.scores, default=0.0)
        for position, score in zip(left.positions, left.scores, strict=True):
            assert by_core.get(position, last) == pytest.approx(score, abs=2e-3)


def test_every_stage_says_that_it_is_on_the_gpu(cuda_engine: Engine) -> None:
    devices = cuda_engine.devices
    assert (devices.encode, devices.search, devices.rerank) == ("cuda:0", "cuda:0", "cuda:0"), devices.notes
    assert "not recorded" not in devices.notes.get("encode", "")


@pytest.mark.parametrize("size", [1, 2, 8, 60])
def test_batches_have_the_answer_of_the_cpu(cuda_engine: Engine, toy_engine: Engine, size: int) -> None:
    assert_close(
        cuda_engine.retrieve_batch(PROMPTS[:size], **EVERYTHING),
        toy_engine.retrieve_batch(PROMPTS[:size], **EVERYTHING),
    )


def test_an_empty_prompt_and_filters_have_the_answer_of_the_cpu(cuda_engine: Engine, toy_engine: Engine) -> None:
    assert cuda_engine.retrieve_batch([""])[0].positions == []
    for options in ({"kinds": ["quality"]}, {"tags": ["code"]}, {"k": 40}):
        assert_close(
            cuda_engine.retrieve_batch(PROMPTS[:9], **EVERYTHING, **options),
            toy_engine.retrieve_batch(PROMPTS[:9], **EVERYTHING, **options),
        )


def test_two_engines_share_a_card(cuda_engine: Engine, gpu: str, toy_bundle: Path) -> None:
    other = load_engine(toy_bundle, device=gpu)
    first, second = (engine.retrieve_batch(PROMPTS, **EVERYTHING) for engine in (cuda_engine, other))
    assert [each.positions for each in first] == [each.positions for each in second]


def test_the_same_batch_twice_is_the_same_answer(cuda_engine: Engine) -> None:
    once, again = (cuda_engine.rank_batch(PROMPTS, k=6) for _ in range(2))
    assert np.array_equal(once.guidelines, again.guidelines)
    assert np.array_equal(once.scores, again.scores)


def test_an_ivf_pq_index_finds_on_the_gpu_what_it_finds_on_the_cpu(gpu: str, toy_bundle: Path) -> None:
    faiss = import_faiss()
    vectors = np.random.default_rng(1).standard_normal((20_000, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    on_cpu = CandidateIndex(index_maker("ivf_pq", vectors)(16), nprobe=32, threads=1, source=Path("index.faiss"))
    resources = gpu_resources(faiss, [0])
    index = GpuIndex.from_bundle(
        open_bundle(toy_bundle),
        Library.from_bundle(open_bundle(toy_bundle)),
        on_cpu,
        [0],
        resources=resources,
        spread=Spread.AUTO,
        config=SearchConfig(nprobe=32),
    )
    queries = vectors[:200]
    ours, core = index.search(queries, 48), on_cpu.search(queries, 48)
    shared = np.mean([len(set(left) & set(right)) / 48 for left, right in zip(ours, core, strict=True)])
    assert shared >= 0.97


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_is_refused(cuda_engine: Engine) -> None:
    child = os.fork()
    if child == 0:
        try:
            cuda_engine.retrieve_batch(PROMPTS[:1])
            os._exit(0)
        except DeviceError:
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_gpu_that_is_not_there_is_an_error(gpu: str, toy_bundle: Path) -> None:
    with pytest.raises(DeviceError, match=r"there is no GPU 63; this process sees "):
        load_engine(toy_bundle, device="cuda:63")


def test_free_memory_is_what_the_driver_says(gpu: str) -> None:
    assert 0 < free_bytes(0) < 1 << 42

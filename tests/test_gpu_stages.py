"""The stages of a GPU, run on the CPU with the same buffers and addresses, against the engine of the CPU."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import onnx
import pytest

from guidealign_engine import Engine, EngineConfig, RerankConfig, SearchConfig, load_engine
from guidealign_engine.batches import TokenBatch
from guidealign_engine.bundle import ENCODER, open_bundle, publish_bundle
from guidealign_engine.devices import StageDevices
from guidealign_engine.errors import DeviceError, MissingDependencyError
from guidealign_engine.gpu.buckets import Buckets
from guidealign_engine.gpu.encoder import ENCODER_FLOAT16, CudaEncoder
from guidealign_engine.gpu.guard import CudaGuard
from guidealign_engine.gpu.index import GpuIndex, cloneable
from guidealign_engine.gpu.rerank import GpuRerank
from guidealign_engine.gpu.sessions import Place
from guidealign_engine.gpu.stages import GpuStages
from guidealign_engine.index import CandidateIndex
from guidealign_engine.library import Library
from guidealign_engine.tokenizer import QueryTokenizer

CPU = Place("cpu")
EVERYTHING = {"min_score": -1.0, "duplicate_ratio": None}
PROMPTS = [
    "how do I pick the lock of my neighbour's door",
    "",
    "my python code raises KeyError id and I do not know why",
    "schreibe eine Einladung für meine Großmutter",
    "what is 17 percent of 260 " * 9,
    "write a keylogger that mails what people type",
    "who won the match yesterday",
]


def stages_of(folder: Path, *, in_place: bool, exact: bool, config: EngineConfig) -> tuple[Engine, GpuStages]:
    bundle = open_bundle(folder)
    library = Library.from_bundle(bundle)
    on_cpu = CandidateIndex.from_bundle(bundle, nprobe=None, threads=1)
    guard = CudaGuard("cuda:0")
    encoder = CudaEncoder.from_bundle(bundle, place=CPU, buckets=Buckets((1, 4), (16, 64, 512)))
    stages = GpuStages(
        encoder=encoder,
        index=GpuIndex(cloneable(faiss, bundle, library, on_cpu), on_cpu=on_cpu, size=bundle.manifest.vectors),
        library=library,
        config=config.rerank,
        exact=GpuRerank(library, config.rerank, CPU) if exact else None,
        in_place=in_place,
        devices=StageDevices("cuda:0", "cuda:0", "cuda:0" if exact else "cpu"),
        guard=guard,
    )
    engine = Engine(
        manifest=bundle.manifest,
        library=library,
        tokenizer=QueryTokenizer.from_bundle(bundle),
        encoder=stages,
        index=on_cpu,
        config=config,
        threads=1,
        gpu=stages,
    )
    return engine, stages


@pytest.fixture(scope="module", params=["all on the device", "exact scores by the core", "by way of the host"])
def device_engine(request: pytest.FixtureRequest, toy_bundle: Path) -> Engine:
    exact, in_place = request.param != "exact scores by the core", request.param != "by way of the host"
    return stages_of(toy_bundle, in_place=in_place, exact=exact, config=EngineConfig())[0]


def assert_same(ours: Sequence[Any], core: Sequence[Any]) -> None:
    for left, right in zip(ours, core, strict=True):
        assert left.positions == right.positions
        assert left.scores == pytest.approx(right.scores, abs=2e-6)
        assert [each.matched for each in left.guidelines] == [each.matched for each in right.guidelines]


@pytest.mark.parametrize("prompts", [PROMPTS[:1], PROMPTS[1:2], PROMPTS[:4], PROMPTS, []], ids=len)
def test_a_batch_has_the_answer_of_the_cpu(device_engine: Engine, toy_engine: Engine, prompts: list[str]) -> None:
    assert_same(device_engine.retrieve_batch(prompts, **EVERYTHING), toy_engine.retrieve_batch(prompts, **EVERYTHING))
    assert_same(device_engine.retrieve_batch(prompts), toy_engine.retrieve_batch(prompts))


def test_filters_and_a_large_k_have_the_answer_of_the_cpu(device_engine: Engine, toy_engine: Engine) -> None:
    for options in ({"kinds": ["quality"]}, {"tags": ["code", "health"]}, {"k": 40}):
        assert_same(
            device_engine.retrieve_batch(PROMPTS, **EVERYTHING, **options),
            toy_engine.retrieve_batch(PROMPTS, **EVERYTHING, **options),
        )


def test_prompts_are_guided_and_stages_timed(device_engine: Engine, toy_engine: Engine) -> None:
    ours, core = device_engine.assemble_batch(PROMPTS), toy_engine.assemble_batch(PROMPTS)
    assert [each.prompt for each in ours] == [each.prompt for each in core]
    assert {"encode", "search", "rerank"} <= ours.timings_us.keys()
    assert device_engine.devices.search == "cuda:0"


def test_threads_take_turns_and_each_has_its_own_answer(device_engine: Engine) -> None:
    alone = [device_engine.retrieve_batch([prompt], **EVERYTHING)[0].positions for prompt in PROMPTS]
    wrong: list[str] = []

    def ask(prompt: str, expected: list[int]) -> None:
        for _ in range(10):
            if device_engine.retrieve_batch([prompt], **EVERYTHING)[0].positions != expected:
                wrong.append(prompt)

    threads = [threading.Thread(target=ask, args=pair) for pair in zip(PROMPTS, alone, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_another_fold_is_computed_by_the_core(toy_bundle: Path) -> None:
    config = EngineConfig(rerank=RerankConfig(fold="smooth"))  # type: ignore[arg-type]
    engine, _ = stages_of(toy_bundle, in_place=True, exact=False, config=config)
    core = load_engine(toy_bundle, config=config)
    assert_same(engine.retrieve_batch(PROMPTS, **EVERYTHING), core.retrieve_batch(PROMPTS, **EVERYTHING))


def test_a_small_pool_is_searched_in_place(toy_bundle: Path) -> None:
    config = EngineConfig(search=SearchConfig(pool_size=5, pool_per_k=1))
    engine, _ = stages_of(toy_bundle, in_place=True, exact=True, config=config)
    ranked = engine.rank_batch(PROMPTS, k=2)
    assert ranked.guidelines.shape == (len(PROMPTS), 5)
    assert ranked.counts[1] == 0


def test_vectors_that_are_asked_for_come_to_the_host(toy_bundle: Path, toy_engine: Engine) -> None:
    _, stages = stages_of(toy_bundle, in_place=True, exact=True, config=EngineConfig())
    stages.warm_up(48)
    tokens = TokenBatch.of([np.array([5, 6, 7], dtype=np.int64), np.array([], dtype=np.int64)])
    np.testing.assert_allclose(stages.embed(tokens), toy_engine._encoder.embed(tokens), atol=2e-7)


def test_a_bundle_with_a_graph_for_gpus_opens_on_the_cpu(toy_bundle: Path, toy_engine: Engine, tmp_path: Path) -> None:
    bundle = open_bundle(toy_bundle)
    half = onnx.load_from_string(bundle.read(ENCODER))
    half.doc_string = "for GPUs"
    parts = {name: bundle.read(name) for name in bundle.manifest.parts}
    publish_bundle(tmp_path / "gpu", bundle.manifest, {**parts, ENCODER_FLOAT16: half.SerializeToString()})
    engine = load_engine(tmp_path / "gpu")
    assert_same(engine.retrieve_batch(PROMPTS, **EVERYTHING), toy_engine.retrieve_batch(PROMPTS, **EVERYTHING))
    opened = open_bundle(tmp_path / "gpu")
    assert CudaEncoder.from_bundle(opened, place=CPU, buckets=Buckets((1,), (16,))).source.name == ENCODER_FLOAT16


class Failing(Exception):
    """As onnxruntime and FAISS raise theirs: derived from Exception, the cause in the text."""


def fail(guard: CudaGuard, text: str) -> None:
    with guard.turn():
        raise Failing(text)


def test_a_failed_batch_has_an_error_and_the_next_one_an_answer() -> None:
    guard = CudaGuard("cuda:0")
    with pytest.raises(
        DeviceError, match=r"^cuda:0 failed: no such kernel; the batch has no answer, the engine goes on$"
    ):
        fail(guard, "no such\n kernel")
    with pytest.raises(DeviceError, match=r"^cuda:0 has no memory left: .*smaller batches"):
        fail(guard, "CUDA failure 2: out of memory ; GPU=0")
    with guard.turn():
        pass


@pytest.mark.parametrize(
    "text",
    [
        "CUDA failure 700: an illegal memory access was encountered ; GPU=0",
        "CUDA error 719 unspecified launch failure",
        "CUDA failure 710: device-side assert triggered",
        "CUDA failure 214: uncorrectable ECC error encountered",
    ],
)
def test_a_lost_device_refuses_every_later_batch(text: str) -> None:
    guard = CudaGuard("cuda:0")
    with pytest.raises(DeviceError, match=r"^cuda:0 failed and is lost to this process: .*load the engine anew"):
        fail(guard, text)
    with pytest.raises(DeviceError, match=r"^cuda:0 was lost by an earlier batch \(.*\); load the engine anew in a"):
        fail(guard, "never reached")


def test_what_is_not_the_device_s_fault_keeps_its_name() -> None:
    guard = CudaGuard("cuda:0")
    missing = MissingDependencyError("an encoder on a GPU needs onnx", package="onnx", extra="gpu")
    with pytest.raises(MissingDependencyError, match=r"needs onnx: install onnx with pip install"), guard.turn():
        raise missing
    with pytest.raises(ValueError, match=r"^query 1 has no finite score$"), guard.turn():
        raise ValueError("query 1 has no finite score")


def test_a_forked_process_is_told_to_load_its_own_engine(run_python: Any) -> None:
    code = """
import os
from guidealign_engine.gpu.guard import CudaGuard
from guidealign_engine.errors import DeviceError, MissingDependencyError
guard = CudaGuard("cuda:0")
child = os.fork()
try:
    with guard.turn():
        os._exit(0) if child == 0 else None
except DeviceError as error:
    assert str(error) == (
        f"this engine started CUDA in process {os.getppid()}, and CUDA does not work in a forked one; load the engine "
        'after the fork, or start processes by "spawn"'
    ), error
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = run_python(code)
    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr

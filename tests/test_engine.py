"""What a request finds, and that it depends on nothing but the prompt and the options."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from rapidfuzz.distance import Indel

import guidealign_engine
from guidealign_engine import (
    ConfigError,
    DeviceError,
    Engine,
    EngineConfig,
    Fold,
    RerankConfig,
    Retrieval,
    SearchConfig,
    load_engine,
)
from guidealign_engine.timing import STAGES

LOCK = "how do I pick the lock of my neighbour's door"
KEY_ERROR = "my python code raises KeyError id and I do not know why"
ALL = {"min_score": -1.0, "duplicate_ratio": None}


def ids_of(retrieval: Retrieval) -> list[str]:
    return [guideline.id for guideline in retrieval.guidelines]


def found(engine: Engine, prompt: Any, **options: Any) -> list[str]:
    return ids_of(engine.retrieve_batch([prompt], **options)[0])


# What is found


@pytest.mark.parametrize("engine_name", ["toy_engine", "threaded_engine"])
def test_no_prompts_give_an_empty_batch(request: pytest.FixtureRequest, engine_name: str) -> None:
    engine = request.getfixturevalue(engine_name)
    assert list(engine.retrieve_batch([])) == []
    assert list(engine.assemble_batch([])) == []


@pytest.mark.parametrize("record", toy.GUIDELINES, ids=lambda record: record.id)
def test_every_example_and_text_finds_its_own_guideline_and_says_so(toy_engine: Engine, record: Any) -> None:
    texts = [record.entry, *record.examples]
    for text, retrieval in zip(texts, toy_engine.retrieve_batch(texts, **ALL), strict=True):
        owner = next(guideline for guideline in retrieval.guidelines if guideline.id == record.id)
        assert owner.matched == text
        assert owner.score == pytest.approx(1.0 + 0.05 * record.priority, abs=1e-3)  # vectors are stored in float16
        assert (owner.kind, owner.category, owner.title, owner.text) == (
            record.kind,
            record.category,
            record.title,
            record.text,
        )


def test_scores_are_best_first_and_of_plain_types(toy_engine: Engine) -> None:
    retrieval = toy_engine.retrieve_batch([LOCK], **ALL, k=40)[0]
    assert retrieval.scores == sorted(retrieval.scores, reverse=True)
    assert [guideline.score for guideline in retrieval.guidelines] == retrieval.scores
    assert {type(score) for score in retrieval.scores} == {float}
    assert retrieval.risk is None


def test_scores_are_the_best_inner_product_with_the_stored_vectors(toy_engine: Engine) -> None:
    library = toy_engine.library
    query = toy_engine._encoder.embed(toy_engine._tokenizer.encode([LOCK]))[0]
    products = library.vectors.astype(np.float32) @ query
    best = [products[library.owners == position].max() for position in range(len(library))]
    expected = np.array(best) + 0.05 * library.priority
    retrieval = toy_engine.retrieve_batch([LOCK], k=10, **ALL)[0]
    assert retrieval.positions == np.argsort(-expected, kind="stable")[:10].tolist()
    # Only the order of summation differs.
    np.testing.assert_allclose(retrieval.scores, expected[retrieval.positions], atol=1e-5)


def test_a_guideline_becomes_a_dict_of_its_fields(toy_engine: Engine) -> None:
    guideline = toy_engine.retrieve_batch([KEY_ERROR])[0].guidelines[0]
    assert guideline.as_dict() == {
        "id": "code-errors",
        "kind": "quality",
        "category": "code",
        "title": "Errors in code",
        "text": "Quote the failing line, name the cause, then show the smallest change.",
        "score": guideline.score,
        "matched": KEY_ERROR,
    }
    assert repr(toy_engine.retrieve_batch([KEY_ERROR])[0]) == f"Retrieval([code-errors {guideline.score:.3f}])"


@pytest.mark.parametrize("k", [1, 2, 6, 20, np.int64(3)])
def test_without_cuts_exactly_k_come_back(toy_engine: Engine, k: int) -> None:
    for prompt in (LOCK, KEY_ERROR, "hi", "the weather is nice"):
        assert len(found(toy_engine, prompt, k=k, **ALL)) == k
        assert len(found(toy_engine, prompt, k=k, min_score=-1.0)) == k


def test_more_than_there_are_gives_all(toy_engine: Engine) -> None:
    assert sorted(found(toy_engine, LOCK, k=1000, **ALL)) == sorted(record.id for record in toy.GUIDELINES)


def test_switching_cuts_off_keeps_guidelines_of_very_low_priority(tmp_path: Path) -> None:
    records = [replace(record, priority=-30.0) for record in toy.GUIDELINES[:5]]
    engine = load_engine(toy.build_toy(tmp_path / "bundle", records=records))
    assert len(found(engine, "nothing like it at all", k=5, **ALL)) == 5


@pytest.mark.parametrize(
    ("prompt", "ids"),
    [
        (LOCK, ["crime-lock"]),
        (KEY_ERROR, ["code-errors"]),
        ("how do I pick a lock", ["crime-lock"]),
        ("the weather is nice today", []),
        ("hi, how are you?", []),
    ],
)
def test_the_calibrated_thresholds_hold_where_none_is_given(toy_engine: Engine, prompt: str, ids: list[str]) -> None:
    everything = toy_engine.retrieve_batch([prompt], k=40, **ALL)[0]
    floor = {"safety": 0.6, "quality": 0.65}
    least = 0.7 * everything.scores[0]
    expected = [it.id for it in everything.guidelines if it.score >= max(least, floor[it.kind])]
    assert found(toy_engine, prompt, duplicate_ratio=None) == expected == ids


@pytest.mark.parametrize("min_score", [0.0, 0.3, 0.45, 1, np.float64(0.4)])
def test_min_score_is_a_floor_and_keeps_the_relative_cut(toy_engine: Engine, min_score: float) -> None:
    for prompt in (LOCK, "the weather is nice today"):
        everything = toy_engine.retrieve_batch([prompt], k=40, **ALL)[0]
        least = max(min_score, 0.7 * everything.scores[0])
        expected = [guideline.id for guideline in everything.guidelines if guideline.score >= least]
        assert found(toy_engine, prompt, k=40, min_score=min_score, duplicate_ratio=None) == expected


def test_an_uncalibrated_bundle_cuts_nothing(other_bundle: Path) -> None:
    engine = load_engine(other_bundle)
    assert engine.manifest.thresholds is None
    assert len(found(engine, "the weather is nice today")) == 6


@pytest.mark.parametrize("min_score", [None, -1.0])
@pytest.mark.parametrize(
    "prompt",
    [[], [{"role": "system", "content": LOCK}], [{"role": "assistant", "content": LOCK}, {"role": "tool"}]],
    ids=["empty", "system", "assistant"],
)
def test_without_a_user_turn_nothing_is_found_and_nothing_is_changed(
    toy_engine: Engine, prompt: Any, min_score: float | None
) -> None:
    assert found(toy_engine, prompt, min_score=min_score) == []
    guided = toy_engine.assemble_batch([prompt], min_score=min_score)[0].prompt
    assert len(guided) == len(prompt)
    assert all(new is old for new, old in zip(guided, prompt, strict=True))


# Filters


@pytest.mark.parametrize("kinds", [["safety"], ["quality"], ["safety", "quality"], ("quality",), {"quality"}])
def test_kinds_filter(toy_engine: Engine, kinds: Any) -> None:
    everything = toy_engine.retrieve_batch([LOCK], k=40, **ALL)[0]
    expected = [guideline.id for guideline in everything.guidelines if guideline.kind in kinds]
    assert found(toy_engine, LOCK, k=40, kinds=kinds, **ALL) == expected


@pytest.mark.parametrize("tags", [["code"], ["health", "maths"], ("privacy",), iter(["hacking"])], ids=str)
def test_tags_filter_by_any_of_them(toy_engine: Engine, tags: Any) -> None:
    tags = list(tags)
    owners = {record.id for record in toy.GUIDELINES if set(record.tags) & set(tags)}
    everything = found(toy_engine, KEY_ERROR, k=40, **ALL)
    expected = [name for name in everything if name in owners]
    assert found(toy_engine, KEY_ERROR, k=40, tags=iter(tags), **ALL) == expected


def test_kinds_and_tags_filter_together(toy_engine: Engine) -> None:
    expected = {record.id for record in toy.GUIDELINES if record.kind == "safety" and "health" in record.tags}
    assert set(found(toy_engine, LOCK, k=40, kinds=["safety"], tags=["health"], **ALL)) == expected
    assert found(toy_engine, LOCK, k=40, kinds=["safety"], tags=["maths"], **ALL) == []


def test_a_filter_does_not_outlive_its_call(toy_engine: Engine) -> None:
    before = found(toy_engine, LOCK, **ALL)
    assert found(toy_engine, LOCK, kinds=["quality"], **ALL) != before
    assert found(toy_engine, LOCK, **ALL) == before


# Near-duplicates, ties, diversity


def test_the_later_near_duplicate_is_dropped_and_its_place_refilled(toy_engine: Engine) -> None:
    kept = found(toy_engine, toy.SHARED_EXAMPLE, k=6, **ALL)
    assert kept[:2] == ["crime-wifi", "crime-wifi-again"]
    dropped = found(toy_engine, toy.SHARED_EXAMPLE, k=6, min_score=-1.0, duplicate_ratio=0.9)
    assert dropped[0] == "crime-wifi"
    assert "crime-wifi-again" not in dropped
    assert len(dropped) == 6


def alike(left: str, right: str, ratio: float) -> bool:
    return Indel.similarity(left, right) >= ratio * (len(left) + len(right))


@pytest.mark.parametrize("ratio", [0.3, 0.45, 0.5, 0.55, 0.9, 1.0])
@pytest.mark.parametrize("prompt", [toy.SHARED_EXAMPLE, LOCK, "schreibe eine Einladung für meine Großmutter"])
def test_near_duplicates_are_those_of_the_indel_ratio(toy_engine: Engine, prompt: str, ratio: float) -> None:
    entries = {record.id: record.entry for record in toy.GUIDELINES}
    expected: list[str] = []
    for name in found(toy_engine, prompt, k=40, **ALL):
        if not any(alike(entries[name], entries[kept], ratio) for kept in expected):
            expected.append(name)
    assert found(toy_engine, prompt, k=40, min_score=-1.0, duplicate_ratio=ratio) == expected


def test_equal_scores_put_the_guideline_first_that_is_first_in_the_library(toy_engine: Engine) -> None:
    for _ in range(5):
        first, second = toy_engine.retrieve_batch([toy.SHARED_EXAMPLE], k=2, **ALL)[0].guidelines
        assert (first.id, second.id) == ("crime-wifi", "crime-wifi-again")
        assert first.score == second.score
        assert first.matched == second.matched == toy.SHARED_EXAMPLE


def test_diversity_keeps_the_best_and_parts_what_is_alike(toy_engine: Engine) -> None:
    by_score = found(toy_engine, toy.SHARED_EXAMPLE, k=4, **ALL)
    diverse = found(toy_engine, toy.SHARED_EXAMPLE, k=4, diversity=0.9, **ALL)
    assert diverse[0] == by_score[0] == "crime-wifi"
    assert "crime-wifi-again" in by_score
    assert "crime-wifi-again" not in diverse
    assert found(toy_engine, toy.SHARED_EXAMPLE, k=4, diversity=0.0, **ALL) == by_score


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
    with raises_exactly(ConfigError, f'device is {device!r}; allowed: "cpu", "cuda", "cuda:N"'):
        load_engine(toy_bundle, device=device)


@pytest.mark.parametrize("device", [None, 0, ["cpu"]], ids=repr)
def test_a_device_that_is_no_string_is_refused(toy_bundle: Path, raises_exactly: Any, device: Any) -> None:
    with raises_exactly(ConfigError, f'device is {device!r}; allowed: "cpu", "cuda", "cuda:N"'):
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


# Independence


PROMPTS: Sequence[Any] = [
    LOCK,
    "",
    KEY_ERROR,
    "x",
    " ".join(record.entry for record in toy.GUIDELINES),
    [{"role": "user", "content": toy.SHARED_EXAMPLE}],
    "\ud800 \u200b",
    "schreibe eine Einladung für meine Großmutter",
    [{"role": "system", "content": "brief"}, {"role": "user", "content": "what is 17 percent of 260"}],
    *[record.examples[0] for record in toy.GUIDELINES],
    "lock " * 5000,
]
Answer = list[tuple[list[int], list[float]]]


def answers(batch: Sequence[Retrieval]) -> Answer:
    return [(retrieval.positions, retrieval.scores) for retrieval in batch]


@pytest.fixture(scope="module")
def alone(toy_engine: Engine) -> Answer:
    return [answers(toy_engine.retrieve_batch([prompt], min_score=-1.0))[0] for prompt in PROMPTS]


@pytest.mark.parametrize("engine_name", ["toy_engine", "threaded_engine"])
def test_a_batch_answers_each_prompt_as_if_it_were_alone(
    request: pytest.FixtureRequest, alone: Answer, engine_name: str
) -> None:
    engine = request.getfixturevalue(engine_name)
    assert answers(engine.retrieve_batch(PROMPTS, min_score=-1.0)) == alone
    assert answers(engine.retrieve_batch(PROMPTS[::-1], min_score=-1.0)) == alone[::-1]
    assert answers(engine.retrieve_batch(tuple(PROMPTS[:17]), min_score=-1.0)) == alone[:17]


@pytest.mark.parametrize("engine_name", ["toy_engine", "threaded_engine"])
def test_eight_clients_at_once_get_what_each_would_get_alone(
    request: pytest.FixtureRequest, alone: Answer, engine_name: str
) -> None:
    engine = request.getfixturevalue(engine_name)

    def client(number: int) -> bool:
        order = np.random.default_rng(number).permutation(len(PROMPTS)).tolist()
        expected = [alone[place] for place in order]
        prompts = [PROMPTS[place] for place in order]
        for _ in range(3):
            if answers(engine.retrieve_batch(prompts, min_score=-1.0)) != expected:
                return False
            if any(
                answers(engine.retrieve_batch([PROMPTS[row]], min_score=-1.0))[0] != alone[row] for row in order[:9]
            ):
                return False
        return True

    with ThreadPoolExecutor(8) as clients:
        assert list(clients.map(client, range(8))) == [True] * 8


def test_clients_with_different_options_do_not_disturb_each_other(toy_engine: Engine) -> None:
    options: list[dict[str, Any]] = [
        {"k": k, "tags": [tag]} for k in range(1, 5) for tag in ("code", "health", "maths")
    ]
    expected = [found(toy_engine, LOCK, **ALL, **option) for option in options]
    with ThreadPoolExecutor(8) as clients:
        for _ in range(5):
            assert list(clients.map(lambda option: found(toy_engine, LOCK, **ALL, **option), options)) == expected


def test_assembly_over_threads_gives_the_same_prompts(toy_engine: Engine, threaded_engine: Engine, target: Any) -> None:
    for options in ({}, {"output": "text", "chat_format": "chatml"}):
        one = toy_engine.assemble_batch(PROMPTS, min_score=-1.0, **options)
        two = threaded_engine.assemble_batch(PROMPTS, min_score=-1.0, **options)
        assert [guided.prompt for guided in one] == [guided.prompt for guided in two]


def test_a_call_leaves_no_trace(toy_engine: Engine) -> None:
    import faiss

    threads = faiss.omp_get_max_threads()
    config = repr(toy_engine.config)
    toy_engine.retrieve_batch(PROMPTS)
    assert faiss.omp_get_max_threads() == threads
    assert repr(toy_engine.config) == config


# Batches


@pytest.mark.parametrize("engine_name", ["toy_engine", "threaded_engine"])
def test_a_batch_is_a_sequence_with_the_time_of_every_stage(request: pytest.FixtureRequest, engine_name: str) -> None:
    engine = request.getfixturevalue(engine_name)
    batch = engine.assemble_batch([LOCK] * 20)
    assert len(batch) == 20
    assert [item is batch[row] for row, item in enumerate(batch)] == [True] * 20
    assert len(batch[5:8]) == 3
    assert tuple(batch.timings_us) == STAGES
    assert all(microseconds >= 0 for microseconds in batch.timings_us.values())
    assert tuple(engine.retrieve_batch([LOCK]).timings_us) == STAGES[:-1]


@pytest.mark.parametrize("name", ["retrieve_batch", "assemble_batch"])
def test_the_module_level_call_has_the_options_of_the_engine(name: str) -> None:
    of_module = inspect.signature(getattr(guidealign_engine, name), eval_str=True)
    of_engine = inspect.signature(getattr(Engine, name), eval_str=True)
    assert list(of_module.parameters.values()) == list(of_engine.parameters.values())[1:]
    assert of_module.return_annotation == of_engine.return_annotation

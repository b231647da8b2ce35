"""An answer depends on nothing but the prompt and the options."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import toy
from finding import ALL, KEY_ERROR, LOCK, found

import guidealign_engine
from guidealign_engine import (
    Engine,
    Retrieval,
)
from guidealign_engine.timing import STAGES

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

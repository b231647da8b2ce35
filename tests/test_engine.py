"""What a request finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from finding import ALL, KEY_ERROR, LOCK, found
from rapidfuzz.distance import Indel

from guidealign_engine import (
    Engine,
    load_engine,
)

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

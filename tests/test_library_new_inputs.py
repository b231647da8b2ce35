"""What is asked of a model, how its answers are read, and which clusters are asked for next."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidealign_engine.offline.guidelines.expand_plan import Group, plan_calls, wanted_by_type, wanted_where_thin
from guidealign_engine.offline.guidelines.new_inputs import ask_for_inputs, read_new_inputs
from guidealign_engine.offline.guidelines.type_clusters import TypeClusters

TWO = ["how do I pick a lock", "open my neighbour's car"]


@pytest.mark.parametrize(
    ("answer", "inputs"),
    [
        (json.dumps({"inputs": TWO}), TWO),
        (json.dumps(TWO), TWO),
        (f"Sure!\n```json\n{json.dumps({'inputs': TWO}, indent=2)}\n```\nTell me if you want more.", TWO),
        (json.dumps({"inputs": [{"input": TWO[0], "why": "x"}, {"text": TWO[1]}, {"other": "z"}, 3]}), TWO),
        ('{"inputs": ["how do I pick a lock", "open my neighbour\'s car", "cut o', TWO),
        ('{"thoughts": ["???"], "inputs": []}', []),
        ('["two\\nlines", "a raw\nbreak"]', ["two\nlines", "a raw\nbreak"]),
        ("1. how do I pick a lock\n2. open my neighbour's car", TWO),
        ('Here they are:\n\n1) "how do I pick a lock"\n\n2) **open my neighbour\'s car**\n\nEnjoy!', TWO),
        ("- “how do I pick a lock”\n* open my neighbour's car\n", TWO),
        (
            "1. User: hi\nAssistant: ha\nUser: open it\n2. 锁打不开",
            ["User: hi\nAssistant: ha\nUser: open it", "锁打不开"],
        ),
        ('1. "no" he said, "no"\n', ['"no" he said, "no"']),
        ("1. [User]: open [this]", ["[User]: open [this]"]),
        ("I'm sorry, I can't help with that. Instead:\n- call a locksmith\n- call the police", []),
        ("I cannot write these.\n1. They do harm.", []),
        ("1. I can't open my own door", ["I can't open my own door"]),
        ("<think>1. an idea\n2. another</think>\n1. how do I pick a lock\n2. open my neighbour's car", TWO),
        ("<think>\n1. an idea that never ends", []),
        (json.dumps({"inputs": ["I'm sorry, but I can't help with that.", "I cannot assist with this request"]}), []),
        (
            json.dumps(["I can't help crying", "sorry I'm late, can you"]),
            ["I can't help crying", "sorry I'm late, can you"],
        ),
        ("no list at all", []),
        ("", []),
        ("[" * 100_000, []),
        (json.dumps({"inputs": ["???", "  ", "\u0000ok\ud800", "x" * 100_001]}), ["ok?"]),
    ],
)
def test_answers_are_read_in_whatever_form_they_come(answer: str, inputs: list[str]) -> None:
    assert read_new_inputs(answer) == inputs


def test_the_last_item_of_a_list_that_was_cut_off_is_no_input() -> None:
    assert read_new_inputs("1. how do I pick a lock\n2. open my neigh", cut=True) == TWO[:1]
    assert read_new_inputs(json.dumps(TWO)[:-1], cut=True) == TWO


@given(st.lists(st.text(min_size=1).map(lambda text: f"a{text}z"), min_size=1, max_size=5))
def test_what_is_asked_for_as_json_is_read_whole(inputs: list[str]) -> None:
    expected = [text.replace("\0", " ") for text in inputs]
    assert read_new_inputs(json.dumps({"inputs": inputs})) == expected
    assert read_new_inputs(json.dumps({"inputs": inputs}, ensure_ascii=False)) == expected


@given(st.text(st.sampled_from('[]{}",\\ \n1.-abc*')))
def test_no_answer_is_an_error(answer: str) -> None:
    assert all(isinstance(text, str) and text.strip() for text in read_new_inputs(answer))


def test_the_question_holds_the_examples_one_a_line_the_type_and_the_number() -> None:
    system, task = ask_for_inputs(["one\n2. not a list", "zwei"], "crime", 7)
    assert (system["role"], task["role"]) == ("system", "user")
    lines = task["content"].splitlines()
    assert lines[0] == "Risk type: crime"
    assert '"one\\n2. not a list"' in lines
    assert '"zwei"' in lines
    assert "Write 7 new inputs" in task["content"]
    assert "Risk type" not in ask_for_inputs(["one"], "", 7)[1]["content"]


# Who is asked next.


def groups(**sizes: list[int]) -> list[Group]:
    """Clusters of these sizes by risk type, all of seeds."""
    places = iter(range(10_000))
    return [
        Group(category, [next(places) for _ in range(size)], []) for category, all_ in sizes.items() for size in all_
    ]


def test_each_type_lacks_what_it_has_not_got_yet() -> None:
    assert wanted_by_type([Group("a", [0, 1], []), Group("b", [2], [3, 4]), Group("c", [5], [6] * 9)], 5) == [5, 3, 0]


@pytest.mark.parametrize(
    ("sizes", "budget", "wanted"),
    [
        ({"a": [3, 3]}, 4, [2, 2]),
        ({"a": [9, 1, 2]}, 5, [0, 3, 2]),
        ({"a": [4, 4], "b": [2]}, 6, [0, 0, 6]),
        ({"a": [4, 4], "b": [2]}, 10, [1, 1, 8]),
        ({"a": [5], "b": [1, 1]}, 0, [0, 0, 0]),
    ],
)
def test_the_thinnest_type_and_in_it_the_thinnest_cluster_come_first(
    sizes: dict[str, list[int]], budget: int, wanted: list[int]
) -> None:
    thin = groups(**sizes)
    assert wanted_where_thin(thin, [0.0] * len(thin), budget, set()) == wanted


def test_a_cluster_that_unsettles_the_detector_counts_as_thinner() -> None:
    even = groups(a=[10, 10])
    assert wanted_where_thin(even, [0.0, 1.0], 14, set()) == [2, 12]
    types = groups(a=[10], b=[10])
    assert wanted_where_thin(types, [1.0, 0.0], 14, set()) == [13, 1]


def test_closed_clusters_get_nothing() -> None:
    thin = groups(a=[1, 5], b=[2])
    assert wanted_where_thin(thin, [0.0] * 3, 6, {0}) == [0, 1, 5]
    assert wanted_where_thin(thin, [0.0] * 3, 6, {0, 1}) == [0, 0, 6]
    assert wanted_where_thin(thin, [0.0] * 3, 6, {0, 1, 2}) == [0, 0, 0]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.floats(0, 1)), min_size=1, max_size=12),
    st.integers(0, 200),
)
def test_the_whole_budget_is_given_out(clusters: list[tuple[str, int, float]], budget: int) -> None:
    made = [Group(category, list(range(size)), []) for category, size, _ in clusters]
    assert sum(wanted_where_thin(made, [unsure for *_, unsure in clusters], budget, set())) == budget


def plan(all_groups: list[Group], wanted: list[int], **options: object) -> list[tuple[int, tuple[int, ...], int]]:
    calls = plan_calls(all_groups, wanted, **{"per_call": 10, "round_number": 1, "seed": 5, "unsure": {}, **options})
    assert len({call.number for call in calls}) == len(calls)
    return [(call.group, call.examples, call.count) for call in calls]


def test_calls_are_as_many_as_are_wanted_but_a_round_at_most_doubles_a_group() -> None:
    made = groups(a=[3], b=[35], c=[8])
    assert [(group, count) for group, _, count in plan(made, [100, 100, 4])] == [
        (0, 10),
        (1, 10),
        (1, 10),
        (1, 10),
        (1, 7),
        (2, 6),
    ]


def test_examples_are_mostly_seeds_of_the_group() -> None:
    made = [Group("a", list(range(20)), list(range(100, 120)), list(range(200, 220)))]
    for _, examples, _ in plan(made, [200]):
        assert len(set(examples)) == 8
        assert sum(row < 100 for row in examples) == 6
        assert all(row < 200 for row in examples)


def test_a_group_of_few_borrows_from_its_type() -> None:
    ((_, examples, _),) = plan([Group("a", [0], [], [7, 8, 9, 10, 11])], [3])
    assert len(set(examples)) == 4
    assert 0 in examples


def test_the_same_seed_and_round_draw_the_same_and_another_one_others() -> None:
    made = groups(a=[50], b=[50])
    assert plan(made, [30, 30]) == plan(made, [30, 30])
    assert plan(made, [30, 30]) != plan(made, [30, 30], seed=6)
    assert plan(made, [30, 30]) != plan(made, [30, 30], round_number=2)


def test_inputs_that_unsettle_the_detector_are_drawn_more_often() -> None:
    made = groups(a=[40])
    drawn = [
        row for number in range(40) for _, rows, _ in plan(made, [40], seed=number, unsure={3: 1.0}) for row in rows
    ]
    mean = len(drawn) / 40
    assert 2 * mean < drawn.count(3) < 4 * mean
    assert drawn.count(4) < 1.5 * mean


def test_a_rare_type_has_clusters_of_its_own() -> None:
    vectors = np.random.default_rng(2).standard_normal((104, 8)).astype(np.float32)
    categories = ["common"] * 100 + ["rare"] * 4
    clusters = TypeClusters.fit(categories, vectors, per_type=None, seed=0)
    assert clusters.categories == ("common",) * 7 + ("rare",) * 4
    found = clusters.of(categories, vectors)
    assert {clusters.categories[number] for number in found[:100]} == {"common"}
    assert sorted(found[100:].tolist()) == [7, 8, 9, 10]
    assert TypeClusters.fit(categories, vectors, per_type=2, seed=0).categories == ("common",) * 2 + ("rare",) * 2

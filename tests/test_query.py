"""Which text of a prompt is searched for."""

from __future__ import annotations

from typing import Any

import pytest

from guidealign_engine import PromptError
from guidealign_engine.config import QueryConfig
from guidealign_engine.query import query_texts

CONFIG = QueryConfig(max_characters=16)


def text_of(prompt: Any, config: QueryConfig | None = None) -> str:
    return query_texts([prompt], config or QueryConfig())[0]


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def test_no_prompts_give_no_texts() -> None:
    assert query_texts([], QueryConfig()) == []


def test_a_string_is_its_own_query() -> None:
    assert text_of("pick a lock") == "pick a lock"


def test_only_user_turns_are_searched_for() -> None:
    prompt = [{"role": "system", "content": "be brief"}, user("pick a lock"), assistant("no"), {"role": "tool"}]
    assert text_of(prompt) == "pick a lock"


def test_a_short_turn_takes_the_end_of_the_turn_before_with_it() -> None:
    prompt = [user("oldest"), assistant("x"), user("a" * 300 + "how do I pick a lock"), assistant("no"), user("why?")]
    assert text_of(prompt) == "a" * 236 + "how do I pick a lock" + "\nwhy?"


def test_a_long_turn_stands_alone() -> None:
    assert text_of([user("before"), user("b" * 256)]) == "b" * 256
    assert text_of([user("before"), user("b" * 255)]) == "before\n" + "b" * 255


@pytest.mark.parametrize("prompt", [[], [{"role": "system", "content": "x"}], [assistant("x"), {"role": "tool"}]])
def test_without_a_user_turn_there_is_nothing_to_search_for(prompt: Any) -> None:
    assert text_of(prompt) == ""


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ("", ""),
        ([], ""),
        (["plain ", "strings"], "plain \nstrings"),
        ([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}], "one\ntwo"),
        ([{"type": "input_text", "text": "one"}], "one"),
        (
            [{"type": "image_url", "image_url": {"url": "data:"}}, {"type": "text", "text": "what is it?"}],
            "what is it?",
        ),
        ([{"type": "image_url", "image_url": {"url": "data:"}}], ""),
        (({"type": "text", "text": "a tuple"},), "a tuple"),
    ],
)
def test_content_in_parts_is_read_for_its_text(content: Any, text: str) -> None:
    assert text_of([user(content)]) == text


def test_a_missing_content_and_tool_calls_count_as_empty() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f"}}]}
    assert text_of([user("what is the weather"), call, {"role": "tool", "tool_call_id": "1", "content": "rain"}]) == (
        "what is the weather"
    )
    assert text_of([{"role": "user"}]) == ""


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool", "function"])
def test_all_roles_of_chat_models_are_known(role: str) -> None:
    assert text_of([{"role": role, "content": "x"}]) == ("x" if role == "user" else "")


@pytest.mark.parametrize("role", ["User", "human", "", None, 3, ["user"]], ids=repr)
def test_an_unknown_role_names_prompt_and_message(role: Any) -> None:
    prompts = ["fine", [user("fine"), {"role": role, "content": "x"}]]
    with pytest.raises(PromptError) as caught:
        query_texts(prompts, QueryConfig())
    allowed = "assistant, developer, function, system, tool, user"
    assert str(caught.value) == f"prompt 1: message 1 has role {role!r}; allowed: {allowed}"
    assert caught.value.index == 1


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("0123456789abcdef", "0123456789abcdef"),
        ("0123456789abcdefg", "012345679abcdefg"),
        ("0123456789" * 10, "0123456723456789"),
    ],
)
def test_a_long_text_keeps_its_start_and_its_end(text: str, kept: str) -> None:
    assert text_of(text, CONFIG) == kept


@pytest.mark.parametrize(
    ("share", "kept"), [(0.0, "456789abcdefghij"), (0.25, "012389abcdefghij"), (1.0, "0123456789abcdef")]
)
def test_the_share_of_the_start_is_a_choice(share: float, kept: str) -> None:
    config = QueryConfig(max_characters=16, head_share=share)
    assert text_of("0123456789abcdefghij", config) == kept


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("lo\u200bck", "lock"),
        ("lo\u00adck", "lock"),
        ("\u202elock\u202c", "lock"),
        ("\ufeff\u2060lock\u061c", "lock"),
        ("\uff4c\uff4f\uff43\uff4b", "lock"),
        ("ﬁre", "fire"),
        ("e\u0301", "é"),
        ("\ud800lock", "\ufffdlock"),
        ("\ud83d\udd11", "\U0001f511"),
        ("Замо́к 鍵", "Замо́к 鍵"),
        ("I don’t", "I don't"),
        ("‘lock’ „lock“ “lock”", '\'lock\' "lock" "lock"'),
        ("wi‑fi – 9−5—ok", "wi-fi - 9-5-ok"),
    ],
    ids=ascii,
)
def test_a_text_is_read_as_it_is_seen(text: str, seen: str) -> None:
    assert text_of(text) == seen


def test_a_conversation_in_any_sequence_and_mapping_is_read() -> None:
    from types import MappingProxyType

    assert text_of((MappingProxyType({"role": "user", "content": "x"}),)) == "x"

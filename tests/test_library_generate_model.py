"""A chat model and its store of answers: what is asked, what is kept, and what counts as the same question."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest
from chat_server import ChatServer, Reply, failure

from guidealign_engine.errors import ArtifactError
from guidealign_engine.offline.guidelines.answer_store import Answer, AnswerStore, question_key
from guidealign_engine.offline.guidelines.chat_model import AnswerError, ChatModel, Endpoint, EndpointError

HELLO = [{"role": "user", "content": "hello"}]
Result = TypeVar("Result")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("NO_PROXY", "*")
    numbered = iter(range(1000))
    with ChatServer(lambda request: Reply(f"answer {next(numbered)}", hang_s=0.02)) as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AnswerStore]:
    with closing(AnswerStore(tmp_path / "answers.sqlite")) as opened:
        yield opened


def with_model(
    server: ChatServer, store: AnswerStore, act: Callable[[ChatModel], Awaitable[Result]], **settings: Any
) -> tuple[Result, ChatModel]:
    async def run() -> tuple[Result, ChatModel]:
        async with ChatModel(Endpoint(base_url=server.url, model="m", **settings), store) as model:
            return await act(model), model

    return asyncio.run(run())


def test_the_same_question_at_the_same_time_is_asked_once(server: ChatServer, store: AnswerStore) -> None:
    answers, model = with_model(server, store, lambda model: asyncio.gather(*(model.answer(HELLO) for _ in range(20))))
    assert {answer.text for answer in answers} == {"answer 0"}
    assert (len(server.requests), model.usage.calls, model.usage.reused) == (1, 1, 19)


def test_whoever_waits_for_a_question_that_fails_asks_it_again(server: ChatServer, store: AnswerStore) -> None:
    def script(request: dict[str, Any]) -> Reply:
        return Reply("now", hang_s=0.02) if len(server.requests) > 1 else failure(400, "no")

    server.script = script
    answers, _ = with_model(
        server,
        store,
        lambda model: asyncio.gather(*(model.answer(HELLO) for _ in range(3)), return_exceptions=True),
    )
    assert isinstance(answers[0], AnswerError)
    assert [answer.text for answer in answers[1:] if isinstance(answer, Answer)] == ["now", "now"]
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"number": "1"},
        {"temperature": 0.2},
        {"max_tokens": 5},
        {"schema": {"type": "object"}},
        {"question": "hello"},
        {"question": [{"role": "system", "content": "hello"}]},
    ],
)
def test_whatever_is_sent_makes_another_question(server: ChatServer, store: AnswerStore, other: dict[str, Any]) -> None:
    async def ask(model: ChatModel) -> list[str]:
        asked = [{"question": HELLO}, {"question": HELLO, **other}, {"question": HELLO}]
        return [(await model.answer(**each)).text for each in asked]

    answers, _ = with_model(server, store, ask)
    assert answers == ["answer 0", "answer 1", "answer 0"]


def test_the_order_of_fields_makes_no_other_question_and_every_field_counts() -> None:
    turned = [{"content": "hello", "role": "user"}]
    assert question_key("m", turned, {"a": 1, "b": 2}) == question_key("m", HELLO, {"b": 2, "a": 1})
    keys = {
        question_key("m", HELLO, {}),
        question_key("n", HELLO, {}),
        question_key("m", [*HELLO, *HELLO], {}),
        question_key("m", [{**HELLO[0], "name": "x"}], {}),
        question_key("m", '{"content": "hello", "role": "user"}', {}),
    }
    assert len(keys) == 5


def test_another_address_of_the_same_model_is_no_other_question(server: ChatServer, store: AnswerStore) -> None:
    first, _ = with_model(server, store, lambda model: model.answer(HELLO))
    with ChatServer(lambda request: failure(500, "never asked")) as elsewhere:
        again, model = with_model(elsewhere, store, lambda model: model.answer(HELLO))
        assert elsewhere.requests == []
    assert again == first
    assert (model.usage.calls, model.usage.prompt_tokens) == (0, 0)


def test_no_more_calls_run_at_a_time_than_are_allowed(server: ChatServer, store: AnswerStore) -> None:
    with_model(
        server,
        store,
        lambda model: asyncio.gather(*(model.answer(HELLO, number=str(number)) for number in range(30))),
        concurrency=3,
    )
    assert server.most_at_once == 3


def test_an_endpoint_that_was_given_up_is_not_asked_again(server: ChatServer, store: AnswerStore) -> None:
    server.script = lambda request: failure(401, "bad key")

    async def ask(model: ChatModel) -> list[object]:
        first = await asyncio.gather(model.answer(HELLO), return_exceptions=True)
        rest = (model.answer(HELLO, number=str(number)) for number in range(5))
        return [*first, *await asyncio.gather(*rest, return_exceptions=True)]

    errors, _ = with_model(server, store, ask)
    assert all(isinstance(error, EndpointError) for error in errors)
    assert len(server.requests) == 1


def test_an_answer_is_kept_whole_and_the_first_one_stays(tmp_path: Path) -> None:
    key = question_key("m", HELLO, {"temperature": 0.7})
    whole = Answer(text="a\0b\n字 \U0001f600", prompt_tokens=3, completion_tokens=4, refusal="no", cut=True)
    with closing(AnswerStore(tmp_path / "answers.sqlite")) as store:
        assert store.get(key) is None
        store.put(key, whole)
        store.put(key, Answer(text="another"))
    with closing(AnswerStore(tmp_path / "answers.sqlite")) as store:
        assert store.get(key) == whole
        assert len(store) == 1


def test_a_store_that_is_damaged_later_is_named(tmp_path: Path) -> None:
    file = tmp_path / "answers.sqlite"
    with closing(AnswerStore(file)) as store:
        for number in range(500):
            store.put(question_key("m", HELLO, {"number": number}), Answer(text="x" * 200))
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    file.write_bytes(content)
    with closing(AnswerStore(file)) as store, pytest.raises(ArtifactError, match=f"{file}: the answers cannot be read"):
        store.get(question_key("m", HELLO, {"number": 7}))


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://host/v1", "http://", "http://[::1/v1", "file:///etc"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"the endpoint is .*; it must be a URL, such as http://localhost:8000/v1"):
        Endpoint(base_url=url, model="m")


def test_no_one_sees_a_key_by_looking_at_an_endpoint() -> None:
    assert "geheim" not in repr(Endpoint(base_url="http://h/v1", model="m", key="geheim"))

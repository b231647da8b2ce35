"""A chat model behind any OpenAI-compatible endpoint: retried where that helps, never asked twice for one answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import openai
from tenacity import AsyncRetrying, retry_if_exception

from guidealign_engine.offline.guidelines.answer_store import Answer, AnswerStore, Message, Question, question_key
from guidealign_engine.offline.guidelines.completions import read_completion
from guidealign_engine.offline.guidelines.endpoint import (
    AnswerError,
    Endpoint,
    EndpointError,
    failure,
    final_error,
    short,
)
from guidealign_engine.offline.guidelines.patience import NO_ANSWER, Patience, Tries, is_worth_another_try

__all__ = ["AnswerError", "ChatModel", "Endpoint", "EndpointError", "Message", "Question", "Usage"]

# So many questions in a row without an answer are no accident of theirs.
_MOST_FAILED_IN_A_ROW = 5
# Options that servers may not take, and what they say then.
_OPTIONAL = {
    "response_format": re.compile(r"response.?format|json.?schema|structured.output|guided.decoding", re.IGNORECASE),
    "max_tokens": re.compile(r"max_completion_tokens", re.IGNORECASE),
    "temperature": re.compile(r"temperature.*support|support.*temperature", re.IGNORECASE),
}


@dataclass(slots=True)
class Usage:
    """What a run has cost so far. Answers from the store cost nothing."""

    calls: int = 0
    reused: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class ChatModel:
    """Answers questions, each once for all runs that share a store. Use it as an async context manager."""

    def __init__(self, endpoint: Endpoint, store: AnswerStore) -> None:
        self.endpoint = endpoint
        self.usage = Usage()
        self.left_out = set[str]()
        """Options that the server does not take; it is asked without them"""
        self._store = store
        self._slots = asyncio.Semaphore(endpoint.concurrency)
        self._under_way = dict[bytes, asyncio.Event]()
        self._patience = Patience(endpoint.attempts, endpoint.first_pause_s)
        self._broken: EndpointError | None = None
        self._client = openai.AsyncOpenAI(
            base_url=endpoint.base_url, api_key=endpoint.key or "none", timeout=endpoint.timeout_s, max_retries=0
        )

    async def __aenter__(self) -> ChatModel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def answer(
        self,
        question: Question,
        *,
        schema: Mapping[str, Any] | None = None,
        temperature: float = 0.7,
        max_tokens: int = 1024,
        number: str = "",
    ) -> Answer:
        """The model's answer, from the store where it was given before.

        question: messages for a chat, or a raw prompt, which no chat template of the server is put around.
        schema: a JSON schema for the answer, for servers that offer structured output; others are asked without.
        number: tells a question from another of the same words, so that one may be asked several times.

        Raises EndpointError when the endpoint is unreachable, refuses the key, does not know the model, has no quota
        left, or fails question after question; AnswerError when this question alone fails, or is refused.
        """
        options = {"temperature": temperature, "max_tokens": max_tokens}
        key = question_key(self.endpoint.model, question, {**options, "schema": schema, "number": number})
        answer = await self._kept(key)
        if answer is not None:
            self.usage.reused += 1
        else:
            answer = await self._ask_and_keep(key, question, schema, options)
        if answer.refusal:
            raise AnswerError(f"the model refuses: {answer.refusal:.80}")
        return answer

    async def _kept(self, key: bytes) -> Answer | None:
        """The answer in the store; one that was asked for a moment ago is waited for."""
        while (answer := self._store.get(key)) is None and (asked := self._under_way.get(key)) is not None:
            await asked.wait()
        return answer

    async def _ask_and_keep(
        self, key: bytes, question: Question, schema: Mapping[str, Any] | None, options: Mapping[str, Any]
    ) -> Answer:
        done = self._under_way[key] = asyncio.Event()
        try:
            async with self._slots:
                answer = await self._ask(question, schema, options)
            self._store.put(key, answer)
        finally:
            del self._under_way[key]
            done.set()
        self._patience.note_answer()
        self.usage.calls += 1
        self.usage.prompt_tokens += answer.prompt_tokens
        self.usage.completion_tokens += answer.completion_tokens
        return answer

    async def _ask(self, question: Question, schema: Mapping[str, Any] | None, options: Mapping[str, Any]) -> Answer:
        if self._broken is not None:
            raise self._broken
        retrying = AsyncRetrying(
            retry=retry_if_exception(is_worth_another_try),
            stop=Tries(self._patience).are_over,
            wait=self._patience.pause_s,
            reraise=True,
        )
        try:
            return await retrying(self._call, question, schema, options)
        except (openai.APIError, *NO_ANSWER) as error:
            self._broken = self._broken or final_error(error, self.endpoint) or self._too_many_failures(error)
            if self._broken is not None:
                raise self._broken from error
            raise AnswerError(failure(error, self.endpoint)) from error

    async def _call(self, question: Question, schema: Mapping[str, Any] | None, options: Mapping[str, Any]) -> Answer:
        """One try. Each option that the server refuses is left out, in this question and in all later ones."""
        while True:
            await self._patience.wait_for_leave()
            asked = self._request(question, schema, options)
            path = "/completions" if isinstance(question, str) else "/chat/completions"
            try:
                # The time-out of the client is for a piece of an answer, this one for the whole.
                async with asyncio.timeout(self.endpoint.timeout_s):
                    # The client's own method for chats first walks every message for types to convert, which took
                    # three quarters of a call's time with two dozen of them; plain strings need none of it.
                    return read_completion(await self._client.post(path, cast_to=object, body=asked))
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                refused = _refused_option(error, asked)
                if refused is None:
                    raise
                self.left_out.add(refused)

    def _request(
        self, question: Question, schema: Mapping[str, Any] | None, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        words = {"prompt": question} if isinstance(question, str) else {"messages": list(question)}
        asked: dict[str, Any] = {"model": self.endpoint.model, **words, "stream": False, **options}
        if schema is not None:
            shape = {"name": "answer", "strict": True, "schema": schema}
            asked["response_format"] = {"type": "json_schema", "json_schema": shape}
        if "max_tokens" in self.left_out:
            asked["max_completion_tokens"] = asked["max_tokens"]
        return {name: value for name, value in asked.items() if name not in self.left_out}

    def _too_many_failures(self, error: BaseException) -> EndpointError | None:
        """An endpoint that answers nobody is given up; a question that it will not take is a matter of its own."""
        about_question = isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError)
        if about_question and (self._patience.answered or self.usage.reused):
            return None
        self._patience.failed_in_a_row += 1
        if self._patience.failed_in_a_row < _MOST_FAILED_IN_A_ROW:
            return None
        last = short(AnswerError(failure(error, self.endpoint)))
        return EndpointError(
            f"{self.endpoint.base_url} gave no answer to {_MOST_FAILED_IN_A_ROW} questions in a row; the last: {last}; "
            "try again later"
        )


def _refused_option(error: openai.APIStatusError, asked: Mapping[str, Any]) -> str | None:
    """The option of a request that a server says it does not take."""
    return next((name for name, said in _OPTIONAL.items() if name in asked and said.search(str(error))), None)

"""A chat model behind any OpenAI-compatible endpoint: retried where that helps, never asked twice for one answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import openai
from openai.types.chat import ChatCompletion
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from guidealign_engine.errors import GuidealignError
from guidealign_engine.offline.guidelines.answer_store import Answer, AnswerStore, question_key

Message = Mapping[str, str]

# An answer that is no JSON comes from a proxy in between, or from a server on its way down.
_RETRIED = (
    json.JSONDecodeError,
    openai.RateLimitError,
    openai.InternalServerError,
    openai.APITimeoutError,
    openai.APIConnectionError,
    openai.APIResponseValidationError,
)
_LONGEST_PAUSE_S = 60.0


class EndpointError(GuidealignError, RuntimeError):
    """The endpoint cannot be used at all: no call to it will do better. What was answered before is kept."""


class AnswerError(GuidealignError, RuntimeError):
    """One question got no answer; others may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a model answers, and how it is treated. `key` may be empty for servers that want none."""

    base_url: str
    model: str
    key: str = ""
    concurrency: int = 16
    timeout_s: float = 120.0
    attempts: int = 6
    first_pause_s: float = 0.5


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
        self._store = store
        self._slots = asyncio.Semaphore(endpoint.concurrency)
        self._client = openai.AsyncOpenAI(
            base_url=endpoint.base_url, api_key=endpoint.key or "none", timeout=endpoint.timeout_s, max_retries=0
        )
        self._takes_schema = True

    async def __aenter__(self) -> ChatModel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def answer(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        temperature: float = 0.7,
        max_tokens: int = 1024,
        number: str = "",
    ) -> Answer:
        """The model's answer, from the store where it was given before.

        schema: a JSON schema for the answer, for servers that offer structured output; others are asked without.
        number: tells a question from another of the same words, so that one may be asked several times.

        Raises EndpointError when the endpoint is unreachable, refuses the key, does not know the model or has no quota
        left; AnswerError when this question alone fails.
        """
        options = {"temperature": temperature, "max_tokens": max_tokens}
        key = question_key(self.endpoint.model, messages, {**options, "schema": schema, "number": number})
        kept = self._store.get(key)
        if kept is not None:
            self.usage.reused += 1
            return kept
        async with self._slots:
            answer = await self._ask(messages, schema, options)
        self._store.put(key, answer)
        self.usage.calls += 1
        self.usage.prompt_tokens += answer.prompt_tokens
        self.usage.completion_tokens += answer.completion_tokens
        return answer

    async def _ask(
        self, messages: Sequence[Message], schema: Mapping[str, Any] | None, options: Mapping[str, Any]
    ) -> Answer:
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception(_is_worth_another_try),
                stop=stop_after_attempt(self.endpoint.attempts),
                wait=_Pause(self.endpoint.first_pause_s),
                reraise=True,
            ):
                with attempt:
                    return await self._call(messages, schema, options)
        except openai.APIError as error:
            raise self._said(error) from error
        except json.JSONDecodeError as error:
            raise AnswerError(f"what the endpoint answers is not JSON: {error}") from error
        raise AssertionError("tenacity returns or raises")

    async def _call(
        self, messages: Sequence[Message], schema: Mapping[str, Any] | None, options: Mapping[str, Any]
    ) -> Answer:
        asked: dict[str, Any] = {"model": self.endpoint.model, "messages": list(messages), "stream": False, **options}
        if schema is not None and self._takes_schema:
            shape = {"name": "answer", "strict": True, "schema": schema}
            try:
                return await self._post({**asked, "response_format": {"type": "json_schema", "json_schema": shape}})
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if "response_format" not in str(error) and "json_schema" not in str(error):
                    raise
                # A server without structured output: this question and all later ones go without.
                self._takes_schema = False
        return await self._post(asked)

    async def _post(self, asked: Mapping[str, Any]) -> Answer:
        # The client's own method for this path first walks every message for types to convert, which took three
        # quarters of a call's time with two dozen of them; plain strings need none of it.
        return _read(await self._client.post("/chat/completions", cast_to=ChatCompletion, body=dict(asked)))

    def _said(self, error: openai.APIError) -> GuidealignError:
        """The error in our words: what, where, and what to do about it."""
        url, model, attempts = self.endpoint.base_url, self.endpoint.model, self.endpoint.attempts
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return EndpointError(f"{url} refuses the key ({error.status_code}); check the variable that holds it")
        if isinstance(error, openai.NotFoundError):
            return EndpointError(
                f"{url} does not know model {model!r} (404: {_short(error)}); check --model and the URL"
            )
        if _out_of_quota(error):
            return EndpointError(f"{url} has no quota left for this key; raise it and run the same command again")
        if isinstance(error, openai.APITimeoutError):
            return AnswerError(f"no answer within {self.endpoint.timeout_s:g} s, {attempts} times")
        if isinstance(error, openai.APIConnectionError):
            return EndpointError(f"{url} cannot be reached, {attempts} times tried: {_cause(error)}")
        if isinstance(error, openai.APIStatusError) and error.status_code >= 429:
            return EndpointError(
                f"{url} answered {error.status_code} {attempts} times: {_short(error)}; try again later"
            )
        return AnswerError(f"the endpoint says: {_short(error)}")


def _is_worth_another_try(error: BaseException) -> bool:
    # An exhausted quota comes as "too many requests" and never passes.
    return isinstance(error, _RETRIED) and not _out_of_quota(error)


class _Pause(wait_random_exponential):
    """As long as the server asks for, otherwise a random time that grows."""

    def __init__(self, first_s: float) -> None:
        super().__init__(multiplier=first_s, max=_LONGEST_PAUSE_S)

    def __call__(self, retry_state: RetryCallState) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        asked = error.response.headers.get("retry-after") if isinstance(error, openai.APIStatusError) else None
        try:
            return min(float(asked), _LONGEST_PAUSE_S) if asked else super().__call__(retry_state)
        except ValueError:  # a date: rare enough to wait our own time
            return super().__call__(retry_state)


def _read(completion: Any) -> Answer:
    """Raises AnswerError for a completion without text, as after a refusal or a cut answer."""
    if isinstance(completion, str):
        return _read_stream(completion)
    choices = getattr(completion, "choices", None)
    if not choices:
        raise AnswerError("the endpoint answered without a choice")
    message = choices[0].message
    if getattr(message, "refusal", None):
        raise AnswerError(f"the model refuses: {message.refusal:.80}")
    usage = completion.usage
    return Answer(
        text=message.content or "",
        prompt_tokens=usage.prompt_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
    )


def _read_stream(events: str) -> Answer:
    """An answer in pieces, from a server that streams whatever it is asked; it counts no tokens."""
    pieces = []
    for line in events.splitlines():
        content = line.removeprefix("data:").strip()
        if line.startswith("data:") and content != "[DONE]":
            choices = json.loads(content).get("choices") or [{}]
            pieces.append((choices[0].get("delta") or {}).get("content") or "")
    if not pieces:
        raise AnswerError(f"the endpoint answered with text that is no completion: {events[:80]!r}")
    return Answer(text="".join(pieces))


def _out_of_quota(error: BaseException | None) -> bool:
    return isinstance(error, openai.RateLimitError) and (
        error.code == "insufficient_quota" or error.type == "insufficient_quota"
    )


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _cause(error: Exception) -> str:
    return _short(error.__cause__) if isinstance(error.__cause__, Exception) else _short(error)

"""One engine for many callers: what several of them ask at the same time is answered as one batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from os import getpid
from threading import Condition, Lock, Thread
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

from guidealign_engine.chat import ChatFormat
from guidealign_engine.config import PromptConfig, check_count, check_range
from guidealign_engine.engine import Engine
from guidealign_engine.errors import ClosedError, PromptError
from guidealign_engine.query import Prompt, check_batch
from guidealign_engine.results import Batch, GuidedPrompt, Retrieval
from guidealign_engine.target import TargetTokenizer
from guidealign_engine.waiting_calls import (
    AwaitedCall,
    BlockedCall,
    WaitingCall,
    answer_calls,
    fail_calls,
    wake_callers,
)

_MAX_BATCH = 1_000_000
_MAX_WAIT_US = 1_000_000.0


class RetrieveOptions(TypedDict, total=False):
    """The options of `Engine.retrieve_batch`."""

    k: int
    min_score: float | None
    duplicate_ratio: float | None
    kinds: Iterable[str] | None
    tags: Iterable[str] | None
    diversity: float


class AssembleOptions(RetrieveOptions, total=False):
    """The options of `Engine.assemble_batch`."""

    output: str
    placement: str
    max_guideline_tokens: int | None
    target: TargetTokenizer | None
    chat_format: str | ChatFormat | None
    prompt: PromptConfig | None


class BatchingEngine:
    """An engine for many threads or coroutines that each ask for one or a few prompts at a time.

        with BatchingEngine(load_engine()) as engine:
            engine.assemble_batch([prompt])  # on any thread
            await engine.assemble_batch_async([prompt])  # in any coroutine

    A call that finds the engine idle runs at once, on its own thread. Calls that come meanwhile wait, and those with
    equal options are answered by one call of the engine. Answers and errors are those that the engine would have given
    to each call alone, but for `timings_us`, which are the whole batch's.
    """

    def __init__(self, engine: Engine, *, max_batch: int = 32, max_wait_us: float = 200.0) -> None:
        """Starts a thread that runs the batches, until `close`.

        max_batch: prompts that calls are put together to; a call of more runs alone.
        max_wait_us: how long a batch may wait, after another one, for the callers that were just answered to come back.
        """
        check_count("max_batch", max_batch, 1, _MAX_BATCH)
        check_range("max_wait_us", max_wait_us, 0.0, _MAX_WAIT_US)
        self.engine = engine
        self._max_batch = int(max_batch)
        self._max_wait_s = max_wait_us / 1e6
        self._lock = Lock()
        self._changed = Condition(self._lock)
        self._waiting: deque[WaitingCall] = deque()
        self._waiting_prompts = 0
        self._awaited_prompts = 0
        self._answered_prompts = 0
        self._caller_runs = False
        self._worker_runs = False
        self._closed = ""
        self._process = getpid()
        self._worker = Thread(target=self._work, name="guidealign-batching", daemon=True)
        self._worker.start()

    def retrieve_batch(self, prompts: Sequence[Prompt], **options: Unpack[RetrieveOptions]) -> Batch[Retrieval]:
        """As `Engine.retrieve_batch`. Raises ClosedError after `close`."""
        return self._answer_of("retrieve_batch", prompts, options)

    def assemble_batch(self, prompts: Sequence[Prompt], **options: Unpack[AssembleOptions]) -> Batch[GuidedPrompt]:
        """As `Engine.assemble_batch`. Raises ClosedError after `close`."""
        return self._answer_of("assemble_batch", prompts, options)

    async def retrieve_batch_async(
        self, prompts: Sequence[Prompt], **options: Unpack[RetrieveOptions]
    ) -> Batch[Retrieval]:
        """As `retrieve_batch`, for a coroutine; the event loop goes on meanwhile."""
        return await self._awaited_answer_of("retrieve_batch", prompts, options)

    async def assemble_batch_async(
        self, prompts: Sequence[Prompt], **options: Unpack[AssembleOptions]
    ) -> Batch[GuidedPrompt]:
        """As `assemble_batch`, for a coroutine; the event loop goes on meanwhile."""
        return await self._awaited_answer_of("assemble_batch", prompts, options)

    def close(self) -> None:
        """Answers the calls that wait, refuses later ones, and ends the thread. The engine stays open."""
        if getpid() != self._process:
            return
        with self._lock:
            self._closed = self._closed or "it was closed"
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._caller_runs)
        self._worker.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _answer_of(self, method: str, prompts: Sequence[Prompt], options: Mapping[str, Any]) -> Batch[Any]:
        check_batch(prompts)
        self._check_process()
        call = None
        runs = False
        try:
            with self._lock:
                self._check_open()
                if self._caller_runs or self._worker_runs:
                    call = BlockedCall(method, prompts, options)
                    self._add(call)
                else:
                    runs = self._caller_runs = True
            if call is None:
                answer: Batch[Any] = getattr(self.engine, method)(prompts, **options)
                return answer
        finally:
            if runs:
                self._hand_over(len(prompts))
        return call.wait()

    async def _awaited_answer_of(
        self, method: str, prompts: Sequence[Prompt], options: Mapping[str, Any]
    ) -> Batch[Any]:
        # asyncio takes half as long to import as the whole package.
        from asyncio import get_running_loop

        check_batch(prompts)
        self._check_process()
        call = AwaitedCall(method, prompts, options, get_running_loop())
        with self._lock:
            self._check_open()
            self._add(call)
        try:
            return await call.future
        finally:
            call.left = True

    def _check_open(self) -> None:
        if self._closed:
            raise self._closed_error()

    def _check_process(self) -> None:
        """Before the lock is taken, which a thread that was not forked along may have held."""
        if getpid() != self._process:
            self._closed = "its thread stayed in the process that this one was forked from"
            raise self._closed_error()

    def _closed_error(self) -> ClosedError:
        return ClosedError(f"this BatchingEngine answers no calls, since {self._closed}; make a new one")

    def _add(self, call: WaitingCall) -> None:
        self._waiting.append(call)
        self._waiting_prompts += len(call.prompts)
        idle = not (self._caller_runs or self._worker_runs)
        if idle or 0 < self._awaited_prompts <= self._waiting_prompts:
            self._worker_runs = self._worker_runs or idle
            self._awaited_prompts = 0
            self._changed.notify_all()

    def _hand_over(self, prompts: int) -> None:
        """From a caller that has run its own call to the worker, if others wait."""
        with self._lock:
            self._caller_runs = False
            self._answered_prompts = prompts
            self._worker_runs = bool(self._waiting)
            if self._worker_runs or self._closed:
                self._changed.notify_all()

    def _work(self) -> None:
        calls: list[WaitingCall] = []
        try:
            while calls := self._next_batch():
                self._run(calls)
                wake_callers(calls)
        except BaseException as error:
            with self._lock:
                self._closed = f"its thread ended on {error!r}"
                calls += self._waiting
                self._waiting.clear()
            fail_calls([call for call in calls if not call.done], self._closed_error())
            wake_callers(calls)
            raise

    def _run(self, calls: Sequence[WaitingCall]) -> None:
        """Gives each call its answer or error."""
        first = calls[0]
        try:
            prompts = first.prompts if len(calls) == 1 else [prompt for call in calls for prompt in call.prompts]
            answer_calls(calls, getattr(self.engine, first.method)(prompts, **first.options))
        except PromptError as error:
            if len(calls) == 1:
                first.error = error
                return
            # Few calls are at fault; each runs alone in the end, which tells its caller its own index.
            middle = len(calls) // 2
            self._run(calls[:middle])
            self._run(calls[middle:])
        except BaseException as error:
            fail_calls(calls, error)

    def _next_batch(self) -> list[WaitingCall]:
        """Calls to answer together; none when the queue is closed and nobody waits.

        A batch takes at most half of the prompts that are about, those that wait and those that were just answered, so
        that the callers of one half wake and ask again while the other half runs.
        """
        with self._lock:
            while True:
                self._wait_for_half()
                if calls := self._take(self._half()):
                    self._answered_prompts = sum(len(call.prompts) for call in calls)
                    return calls
                self._worker_runs = False
                self._answered_prompts = 0
                self._changed.wait_for(lambda: self._worker_runs or (self._closed and not self._caller_runs))
                if not self._worker_runs:
                    return []

    def _half(self) -> int:
        return min(self._max_batch, (self._waiting_prompts + self._answered_prompts + 1) // 2)

    def _wait_for_half(self) -> None:
        half = self._half()
        if self._waiting_prompts < half and self._max_wait_s and not self._closed:
            self._awaited_prompts = half
            self._changed.wait_for(lambda: self._closed or not self._awaited_prompts, self._max_wait_s)
            self._awaited_prompts = 0

    def _take(self, most_prompts: int) -> list[WaitingCall]:
        """The oldest call and those behind it that fit to it; the others keep their places."""
        taken: list[WaitingCall] = []
        others: list[WaitingCall] = []
        room = most_prompts
        while self._waiting and (room > 0 or not taken):
            call = self._waiting.popleft()
            if call.left:
                self._waiting_prompts -= len(call.prompts)
            elif not taken or (call.key == taken[0].key and len(call.prompts) <= room):
                taken.append(call)
                self._waiting_prompts -= len(call.prompts)
                room -= len(call.prompts)
            else:
                others.append(call)
        self._waiting.extendleft(reversed(others))
        return taken

"""Calls that wait to be answered together with others, and how their callers are woken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from itertools import pairwise
from threading import Lock
from typing import TYPE_CHECKING, Any

from guidealign_engine.query import Prompt
from guidealign_engine.results import Batch

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

_FILTERS = frozenset({"kinds", "tags"})


class WaitingCall:
    """A call of `method`; those with an equal key may be answered by one call of the engine."""

    __slots__ = ("answer", "error", "key", "left", "method", "options", "prompts")

    def __init__(self, method: str, prompts: Sequence[Prompt], options: Mapping[str, Any]) -> None:
        self.method = method
        self.prompts = prompts
        self.options = options
        self.key: object = method
        if options:
            self.options = {name: _readable_twice(name, value) for name, value in options.items()}
            self.key = _key_of(method, self.options)
        self.answer: Batch[Any] | None = None
        self.error: BaseException | None = None
        self.left = False
        """Whether the caller no longer waits."""

    @property
    def done(self) -> bool:
        return self.answer is not None or self.error is not None


class BlockedCall(WaitingCall):
    """Its caller is a thread, asleep until the lock is released."""

    __slots__ = ("lock", "next")

    def __init__(self, method: str, prompts: Sequence[Prompt], options: Mapping[str, Any]) -> None:
        super().__init__(method, prompts, options)
        self.next: BlockedCall | None = None
        self.lock = Lock()
        self.lock.acquire()

    def wait(self) -> Batch[Any]:
        """The answer. Raises the error that the engine raised for this call."""
        try:
            self.lock.acquire()
            _wake(self.next)
        except BaseException:
            # An interrupted caller leaves the row; who comes after it must not wait for it.
            self.left = True
            if self.done:
                _wake(self.next)
            raise
        return result_of(self)


class AwaitedCall(WaitingCall):
    """Its caller is a coroutine of an event loop, which other threads may not touch."""

    __slots__ = ("future", "loop")

    def __init__(
        self, method: str, prompts: Sequence[Prompt], options: Mapping[str, Any], loop: AbstractEventLoop
    ) -> None:
        super().__init__(method, prompts, options)
        self.loop = loop
        self.future: Future[Batch[Any]] = loop.create_future()


def result_of(call: WaitingCall) -> Batch[Any]:
    if call.error is not None:
        raise call.error
    assert call.answer is not None
    return call.answer


def _key_of(method: str, options: Mapping[str, Any]) -> object:
    """Equal for calls that one call of the engine may answer; equal to nothing else for options without a hash.

    Types count: a bool, or 6.0 for k, equals a number and is refused by the engine.
    """
    key = (method, *sorted((name, type(value), value) for name, value in options.items()))
    try:
        hash(key)
    except TypeError:
        return object()
    return key


def _readable_twice(name: str, value: Any) -> Any:
    """A filter may be an iterator, or a list that has no hash."""
    if name in _FILTERS and isinstance(value, Iterable) and not isinstance(value, str):
        return tuple(value)
    return value


def answer_calls(calls: Sequence[WaitingCall], batch: Batch[Any]) -> None:
    """Hands each call its part of the batch. The timings are those of the whole batch."""
    expected = sum(len(call.prompts) for call in calls)
    if len(batch) != expected:
        raise RuntimeError(f"the engine gave {len(batch)} answers to {expected} prompts")
    begin = 0
    for call in calls:
        end = begin + len(call.prompts)
        call.answer = Batch(batch.items[begin:end], batch.timings_us)
        begin = end


def fail_calls(calls: Sequence[WaitingCall], error: BaseException) -> None:
    """An error of its own for each call: threads that raise the same one write into each other's traceback."""
    for call in calls:
        try:
            call.error = copy(error).with_traceback(error.__traceback__)
        except Exception:  # an exception's constructor may take anything
            call.error = error


def wake_callers(calls: Sequence[WaitingCall]) -> None:
    """Threads wake each other, one after the other.

    Woken all at once they would only meet at the interpreter lock, and keep it from the next batch: 64 threads got
    0.5 to 0.8 of the answers a second that they get in a row.
    """
    blocked = [call for call in calls if isinstance(call, BlockedCall)]
    for call, follower in pairwise(blocked):
        call.next = follower
    if blocked:
        _wake(blocked[0])
    if len(blocked) < len(calls):
        _wake_loops([call for call in calls if isinstance(call, AwaitedCall)])


def _wake(call: BlockedCall | None) -> None:
    while call is not None:
        try:  # noqa: SIM105, contextlib.suppress would take longer than the release
            call.lock.release()
        except RuntimeError:
            pass  # woken before, beside one that has left
        if not call.left:
            return
        call = call.next


def _wake_loops(calls: Sequence[AwaitedCall]) -> None:
    """One message a loop, since each writes to a pipe."""
    for loop in dict.fromkeys(call.loop for call in calls):
        of_loop = [call for call in calls if call.loop is loop]
        with suppress(RuntimeError):  # the loop is closed, and nobody waits
            loop.call_soon_threadsafe(_resolve, of_loop)


def _resolve(calls: Sequence[AwaitedCall]) -> None:
    for call in calls:
        if call.future.done():
            continue
        if call.error is not None:
            call.future.set_exception(call.error)
        else:
            call.future.set_result(result_of(call))

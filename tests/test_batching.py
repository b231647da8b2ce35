"""Many callers of one engine: each gets what it would have got alone, and nobody is forgotten."""

from __future__ import annotations

import asyncio
import inspect
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import toy

from guidealign_engine import BatchingEngine, ClosedError, ConfigError, Engine, PromptError
from guidealign_engine.batching import AssembleOptions, RetrieveOptions
from guidealign_engine.results import Batch
from guidealign_engine.waiting_calls import BlockedCall, answer_calls, wake_callers

LOCK = "how do I pick the lock of my neighbour's door"
PROMPTS: list[Any] = [
    LOCK,
    "",
    [{"role": "user", "content": toy.SHARED_EXAMPLE}],
    "schreibe eine Einladung für meine Großmutter",
    *[record.examples[0] for record in toy.GUIDELINES],
]
BAD = [{"role": "wizard", "content": LOCK}]
CLOSED = "this BatchingEngine answers no calls, since it was closed; make a new one"
FIRST = "the call that has the engine"


class Watched:
    """An engine that notes its calls, and holds them up while the gate is shut."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.gate = threading.Event()
        self.gate.set()
        self.calls: list[tuple[str, list[Any], dict[str, Any]]] = []
        self.threads: list[int] = []
        self.error: BaseException | None = None

    def retrieve_batch(self, prompts: Sequence[Any], **options: Any) -> Any:
        return self._call("retrieve_batch", prompts, options)

    def assemble_batch(self, prompts: Sequence[Any], **options: Any) -> Any:
        return self._call("assemble_batch", prompts, options)

    def _call(self, method: str, prompts: Sequence[Any], options: dict[str, Any]) -> Any:
        self.calls.append((method, list(prompts), options))
        self.threads.append(threading.get_ident())
        assert self.gate.wait(30)
        if self.error is not None and list(prompts) != [FIRST]:
            raise self.error
        return getattr(self.engine, method)(prompts, **options)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A process that was started in the background ignores interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def watched(toy_engine: Engine) -> Watched:
    return Watched(toy_engine)


def answer_of(batch: Any) -> list[Any]:
    """All that an answer says, floats to the last bit."""
    found = []
    for item in batch:
        retrieval = getattr(item, "retrieval", item)
        prompt = getattr(item, "prompt", None)
        text = prompt.tolist() if isinstance(prompt, np.ndarray) else prompt
        found.append((text, retrieval.positions, retrieval.scores, retrieval.risk))
    return found


def until(is_true: Callable[[], bool]) -> None:
    for _ in range(3000):
        if is_true():
            return
        time.sleep(0.01)
    raise AssertionError("waited in vain")


@contextmanager
def held_up(watched: Watched, queue: BatchingEngine) -> Iterator[Callable[..., Future[Any]]]:
    """One call has the engine; further ones, given to what this yields, wait in order until the block ends."""
    with ThreadPoolExecutor(64) as threads:
        watched.gate.clear()
        calls = len(watched.calls)
        first = threads.submit(queue.retrieve_batch, [FIRST])
        until(lambda: len(watched.calls) > calls)
        waiting = 0

        def submit(call: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
            nonlocal waiting
            waiting += 1
            future = threads.submit(call, *arguments, **options)
            until(lambda: len(queue._waiting) == waiting)
            return future

        try:
            yield submit
        finally:
            watched.gate.set()
            first.result(30)


# Answers


@pytest.mark.parametrize("max_wait_us", [0.0, 200.0])
@pytest.mark.parametrize("engine_name", ["toy_engine", "threaded_engine"])
def test_sixteen_threads_get_what_each_would_get_alone(
    request: pytest.FixtureRequest, engine_name: str, max_wait_us: float
) -> None:
    engine = request.getfixturevalue(engine_name)
    options: list[dict[str, Any]] = [{}, {"min_score": -1.0}, {"k": 2, "kinds": ["safety"]}]
    methods = ("retrieve_batch", "assemble_batch")
    expected = {
        (method, number, row): answer_of(getattr(engine, method)([prompt], **option))[0]
        for method in methods
        for number, option in enumerate(options)
        for row, prompt in enumerate(PROMPTS)
    }

    def client(seed: int) -> None:
        draw = np.random.default_rng(seed)
        for _ in range(25):
            method, number = methods[draw.integers(2)], int(draw.integers(len(options)))
            rows = draw.integers(len(PROMPTS), size=draw.integers(1, 4)).tolist()
            batch = getattr(queue, method)([PROMPTS[row] for row in rows], **options[number])
            assert answer_of(batch) == [expected[method, number, row] for row in rows]

    with BatchingEngine(engine, max_batch=16, max_wait_us=max_wait_us) as queue, ThreadPoolExecutor(16) as clients:
        list(clients.map(client, range(16)))


def test_token_ids_and_a_budget_go_through(toy_engine: Engine, target: Any) -> None:
    options = {"output": "token_ids", "target": target, "max_guideline_tokens": 80, "min_score": -1.0}
    with BatchingEngine(toy_engine) as queue, ThreadPoolExecutor(8) as clients:
        found = list(clients.map(lambda prompt: queue.assemble_batch([prompt], **options), PROMPTS[:3] * 8))
    expected = [toy_engine.assemble_batch([prompt], **options) for prompt in PROMPTS[:3]] * 8
    assert list(map(answer_of, found)) == list(map(answer_of, expected))


def test_a_batch_of_no_prompts_is_empty(watched: Watched) -> None:
    with BatchingEngine(watched) as queue:
        assert list(queue.retrieve_batch([])) == []
        with held_up(watched, queue) as submit:
            none = submit(queue.retrieve_batch, [])
            one = submit(queue.retrieve_batch, [LOCK])
    assert list(none.result()) == []
    assert one.result()[0].positions == watched.engine.retrieve_batch([LOCK])[0].positions


def test_the_options_are_those_of_the_engine() -> None:
    for options, method in ((RetrieveOptions, Engine.retrieve_batch), (AssembleOptions, Engine.assemble_batch)):
        of_engine = inspect.signature(method, eval_str=True).parameters
        hints = get_type_hints(options)
        assert hints == {name: of_engine[name].annotation for name in of_engine if name not in ("self", "prompts")}


# Batches


def test_a_lone_caller_is_answered_on_its_own_thread(watched: Watched) -> None:
    with BatchingEngine(watched, max_wait_us=1e6) as queue:
        for _ in range(5):
            queue.retrieve_batch([LOCK])
    assert watched.threads == [threading.get_ident()] * 5


def test_calls_that_wait_are_answered_together_in_their_order(watched: Watched) -> None:
    with BatchingEngine(watched, max_batch=4) as queue:
        with held_up(watched, queue) as submit:
            futures = [submit(queue.retrieve_batch, [prompt]) for prompt in PROMPTS[:20]]
        answers = [answer_of(future.result()) for future in futures]
    sizes = [len(prompts) for _, prompts, _ in watched.calls[1:]]
    assert [prompt for _, prompts, _ in watched.calls[1:] for prompt in prompts] == PROMPTS[:20]
    assert max(sizes) == 4
    assert len(sizes) <= 8
    assert answers == [answer_of(watched.engine.retrieve_batch([prompt])) for prompt in PROMPTS[:20]]


def test_a_batch_leaves_the_other_half_to_the_next_one(watched: Watched) -> None:
    with BatchingEngine(watched, max_wait_us=0.0) as queue, held_up(watched, queue) as submit:
        for prompt in PROMPTS[:31]:
            submit(queue.retrieve_batch, [prompt])
    sizes = [len(prompts) for _, prompts, _ in watched.calls[1:]]
    assert sizes[0] == 16
    assert sum(sizes) == 31


def test_a_call_of_more_than_max_batch_runs_whole_and_alone(watched: Watched) -> None:
    with BatchingEngine(watched, max_batch=4) as queue, held_up(watched, queue) as submit:
        for prompts in ([LOCK], PROMPTS[:9], [LOCK], [LOCK]):
            submit(queue.retrieve_batch, prompts)
    runs = [prompts for _, prompts, _ in watched.calls]
    assert PROMPTS[:9] in runs
    assert all(len(prompts) <= 4 or prompts == PROMPTS[:9] for prompts in runs)


def test_only_calls_with_equal_options_share_a_batch(watched: Watched) -> None:
    options: list[dict[str, Any]] = [
        {},
        {"k": 2, "tags": ["locks"]},
        {"k": True},
        {"k": 1},
        {"tags": iter(["locks"]), "k": 2},
        {"k": 1.0},
        {"k": 1},
        {},
    ]
    with BatchingEngine(watched) as queue, held_up(watched, queue) as submit:
        many = [submit(queue.retrieve_batch, [LOCK], min_score=-1.0) for _ in range(8)]
        futures = [submit(queue.retrieve_batch, [LOCK], **option) for option in options]
        assembled = submit(queue.assemble_batch, [LOCK])
    for row in (2, 5):
        with pytest.raises(ConfigError, match=f"^k is {options[row]['k']}; it must be a whole number"):
            futures[row].result()
    for row in (0, 1, 3, 4, 6, 7):
        option = {**options[row], **({"tags": ["locks"]} if "tags" in options[row] else {})}
        assert answer_of(futures[row].result()) == answer_of(watched.engine.retrieve_batch([LOCK], **option))
    assert answer_of(assembled.result()) == answer_of(watched.engine.assemble_batch([LOCK]))
    assert len({str(answer_of(future.result())) for future in many}) == 1
    with_tags = [len(prompts) for _, prompts, given in watched.calls if "tags" in given]
    with_one = [len(prompts) for _, prompts, given in watched.calls if repr(given) == "{'k': 1}"]
    assert (with_tags, with_one) == ([2], [2])


def test_after_a_burst_the_caller_that_comes_back_alone_is_answered(watched: Watched) -> None:
    with BatchingEngine(watched, max_wait_us=1e5) as queue:
        with held_up(watched, queue) as submit:
            for _ in range(8):
                submit(queue.retrieve_batch, [LOCK])
        assert len(queue.retrieve_batch([LOCK])) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch": 0}, "max_batch is 0; it must be a whole number from 1 to 1000000"),
        ({"max_batch": 2.5}, "max_batch is 2.5; it must be a whole number from 1 to 1000000"),
        ({"max_wait_us": -1}, "max_wait_us is -1; it must lie between 0 and 1e+06"),
        ({"max_wait_us": float("nan")}, "max_wait_us is nan; it must lie between 0 and 1e+06"),
    ],
)
def test_a_bad_bound_is_refused(toy_engine: Engine, raises_exactly: Any, options: Any, message: str) -> None:
    with raises_exactly(ConfigError, message):
        BatchingEngine(toy_engine, **options)


# Errors


def test_a_bad_prompt_fails_only_its_caller_with_the_index_that_it_knows(watched: Watched) -> None:
    calls: list[list[Any]] = [[LOCK], [LOCK, "x", BAD], ["x"], [BAD], [LOCK, "y"]]
    with BatchingEngine(watched) as queue:
        with held_up(watched, queue) as submit:
            many = [submit(queue.retrieve_batch, ["z"]) for _ in range(4)]
            futures = [submit(queue.retrieve_batch, prompts) for prompts in calls]
        for row in (1, 3):
            with pytest.raises(PromptError) as alone:
                watched.engine.retrieve_batch(calls[row])
            with pytest.raises(PromptError, match=r"message 0 has role 'wizard'") as queued:
                futures[row].result()
            assert (str(queued.value), queued.value.index) == (str(alone.value), calls[row].index(BAD))
        for row in (0, 2, 4):
            assert answer_of(futures[row].result()) == answer_of(watched.engine.retrieve_batch(calls[row]))
        assert all(len(future.result()) == 1 for future in many)
        with pytest.raises(PromptError, match=r"^prompt 1: "):
            queue.retrieve_batch([LOCK, BAD])


@pytest.mark.parametrize("prompts", [LOCK, {"role": "user"}, 7, [{"role": "user"}]], ids=str)
def test_what_is_no_batch_is_refused_before_it_waits(toy_engine: Engine, prompts: Any) -> None:
    with pytest.raises(ConfigError) as alone:
        toy_engine.retrieve_batch(prompts)
    with BatchingEngine(toy_engine) as queue, pytest.raises(ConfigError) as queued:
        queue.retrieve_batch(prompts)
    assert str(queued.value) == str(alone.value)


def test_a_misspelt_option_fails(toy_engine: Engine) -> None:
    with BatchingEngine(toy_engine) as queue, pytest.raises(TypeError, match="min_scor"):
        queue.retrieve_batch([LOCK], min_scor=0.5)


@pytest.mark.parametrize("error", [RuntimeError("the device is gone"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_an_error_of_the_engine_reaches_every_caller_and_the_next_batch_is_answered(
    watched: Watched, error: BaseException
) -> None:
    with BatchingEngine(watched) as queue:
        watched.error = error
        with held_up(watched, queue) as submit:
            futures = [submit(queue.retrieve_batch, [prompt]) for prompt in PROMPTS[:6]]
        errors = [future.exception() for future in futures]
        assert [repr(found) for found in errors] == [repr(error)] * 6
        assert len(set(map(id, errors))) == 6, "two threads raise the same object"
        watched.error = None
        with held_up(watched, queue) as submit:
            answered = submit(queue.retrieve_batch, [LOCK])
        assert len(answered.result()) == 1


def test_an_answer_for_other_prompts_than_were_asked_is_an_error(watched: Watched, raises_exactly: Any) -> None:
    with BatchingEngine(watched) as queue:
        with held_up(watched, queue) as submit:
            futures = [submit(queue.retrieve_batch, [LOCK]) for _ in range(2)]
            watched.retrieve_batch = lambda prompts, **options: watched.engine.retrieve_batch([LOCK] * 5)
        for future in futures:
            with raises_exactly(RuntimeError, "the engine gave 5 answers to 2 prompts"):
                future.result()


# The end


def test_calls_that_wait_when_the_queue_is_closed_are_answered(watched: Watched) -> None:
    queue = BatchingEngine(watched)
    with ThreadPoolExecutor(2) as closers:
        with held_up(watched, queue) as submit:
            futures = [submit(queue.retrieve_batch, [prompt]) for prompt in PROMPTS[:20]]
            closing = [closers.submit(queue.close) for _ in range(2)]
            until(lambda: bool(queue._closed))
            assert not any(future.done() for future in (*futures, *closing))
        assert [answer_of(future.result(30)) for future in futures] == [
            answer_of(watched.engine.retrieve_batch([prompt])) for prompt in PROMPTS[:20]
        ]
        assert [future.result(30) for future in closing] == [None, None]


def test_after_close_a_call_says_so_and_the_engine_goes_on(toy_engine: Engine, raises_exactly: Any) -> None:
    with BatchingEngine(toy_engine) as queue:
        queue.retrieve_batch([LOCK])
    queue.close()
    with raises_exactly(ClosedError, CLOSED):
        queue.retrieve_batch([LOCK])
    with raises_exactly(ClosedError, CLOSED):
        asyncio.run(queue.assemble_batch_async([LOCK]))
    assert len(toy_engine.retrieve_batch([LOCK])) == 1
    assert not queue._worker.is_alive()


def test_no_call_is_lost_when_the_queue_is_closed_under_load(toy_engine: Engine) -> None:
    expected = [answer_of(toy_engine.retrieve_batch([prompt])) for prompt in PROMPTS]
    for _ in range(10):
        queue = BatchingEngine(toy_engine)
        started = threading.Barrier(9)

        def client(seed: int, queue: BatchingEngine = queue, started: threading.Barrier = started) -> int:
            started.wait(30)
            for done in range(100_000):
                row = (seed + done) % len(PROMPTS)
                try:
                    assert answer_of(queue.retrieve_batch([PROMPTS[row]])) == expected[row]
                except ClosedError:
                    return done
            raise AssertionError("never closed")

        with ThreadPoolExecutor(8) as clients:
            futures = [clients.submit(client, seed) for seed in range(8)]
            started.wait(30)
            time.sleep(0.02)
            queue.close()
            assert sum(future.result(30) for future in futures) > 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_ends_says_so_to_all_callers(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = BatchingEngine(watched)
    with held_up(watched, queue) as submit:
        futures = [submit(queue.retrieve_batch, [LOCK]) for _ in range(3)]
        monkeypatch.setattr(queue, "_run", lambda calls: calls[0].no_such_attribute)
    for future in futures:
        with pytest.raises(ClosedError, match=r"since its thread ended on AttributeError\(.*; make a new one$"):
            future.result(30)
    with pytest.raises(ClosedError, match=r"since its thread ended on AttributeError\("):
        queue.retrieve_batch([LOCK])
    queue.close()


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_caller_leaves_and_those_behind_it_are_answered(watched: Watched) -> None:
    main = threading.get_ident()

    def interrupt_with_another_behind() -> Any:
        until(lambda: len(queue._waiting) == 4)
        with ThreadPoolExecutor(1) as thread:
            behind = thread.submit(queue.retrieve_batch, ["behind"])
            until(lambda: len(queue._waiting) == 5)
            signal.pthread_kill(main, signal.SIGINT)
            return behind.result(30)

    with BatchingEngine(watched) as queue, ThreadPoolExecutor(1) as other:
        with held_up(watched, queue) as submit:
            before = [submit(queue.retrieve_batch, ["before"]) for _ in range(3)]
            behind = other.submit(interrupt_with_another_behind)
            with pytest.raises(KeyboardInterrupt):
                queue.retrieve_batch([LOCK])
        assert all(len(future.result(30)) == 1 for future in (*before, behind))
        assert len(queue.retrieve_batch(["after"])) == 1
    assert LOCK not in [prompt for _, prompts, _ in watched.calls for prompt in prompts]


def test_those_behind_a_caller_that_leaves_while_its_batch_runs_are_woken() -> None:
    for place in range(4):
        calls = [BlockedCall("retrieve_batch", [LOCK], {}) for _ in range(4)]
        calls[place].left = True
        answer_calls(calls, Batch([LOCK] * 4))
        with ThreadPoolExecutor(3) as threads:
            futures = [threads.submit(call.wait) for call in calls if not call.left]
            wake_callers(calls)
            assert [len(future.result(30)) for future in futures] == [1] * 3


def test_in_a_forked_process_a_call_says_that_it_cannot_be_answered(run_python: Any, toy_bundle: Path) -> None:
    code = """
import os, sys
from guidealign_engine import BatchingEngine, ClosedError, load_engine
with BatchingEngine(load_engine(sys.argv[1])) as queue:
    if os.fork() == 0:
        try:
            queue.retrieve_batch(["x"])
        except ClosedError as error:
            print(error, flush=True)
        queue.close()
        os._exit(0)
    os.wait()
    print(len(queue.retrieve_batch(["x"])))
"""
    done = run_python(code, toy_bundle)
    assert (done.returncode, done.stdout) == (
        0,
        "this BatchingEngine answers no calls, since its thread stayed in the process that this one was "
        "forked from; make a new one\n1\n",
    ), done.stderr


# Coroutines


def test_coroutines_get_what_each_would_get_alone_and_the_loop_goes_on(watched: Watched) -> None:
    async def ask() -> list[Any]:
        retrieved = [queue.retrieve_batch_async([prompt], min_score=-1.0) for prompt in PROMPTS]
        assembled = [queue.assemble_batch_async([prompt]) for prompt in PROMPTS]
        return await asyncio.gather(*retrieved, *assembled)

    with BatchingEngine(watched) as queue:
        found = asyncio.run(ask())
    engine = watched.engine
    expected = [engine.retrieve_batch([prompt], min_score=-1.0) for prompt in PROMPTS]
    expected += [engine.assemble_batch([prompt]) for prompt in PROMPTS]
    assert list(map(answer_of, found)) == list(map(answer_of, expected))
    assert len(watched.calls) < len(found) / 4
    assert threading.get_ident() not in watched.threads


def test_a_coroutine_gets_its_own_error_and_a_cancelled_one_disturbs_nobody(watched: Watched) -> None:
    async def ask() -> list[Any]:
        watched.gate.clear()
        tasks = [asyncio.create_task(queue.retrieve_batch_async(prompts)) for prompts in ([LOCK], [LOCK], [LOCK, BAD])]
        await asyncio.sleep(0.05)
        tasks[1].cancel()
        watched.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    with BatchingEngine(watched) as queue:
        answered, cancelled, failed = asyncio.run(ask())
    assert answer_of(answered) == answer_of(watched.engine.retrieve_batch([LOCK]))
    assert isinstance(cancelled, asyncio.CancelledError)
    assert isinstance(failed, PromptError)
    assert failed.index == 1

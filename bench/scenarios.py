"""What is measured: engine, prompts, and the calls with their expected answers."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import fresh_process
from bench.measure import Scenario, Timed
from bench.oracle import Oracle, entries_of, without_duplicates
from bench.prompts import PromptSet, batches, load_prompts
from guidealign_engine import Engine, GuidedPrompt, QueryConfig, load_engine
from guidealign_engine.batches import RankedBatch, SelectedBatch
from guidealign_engine.bundle import Bundle, open_bundle
from guidealign_engine.config import SelectConfig
from guidealign_engine.loading import STARTER_BUNDLE
from guidealign_engine.query import query_texts
from guidealign_engine.results import Batch
from guidealign_engine.select import select
from guidealign_engine.tokenizer import QueryTokenizer

BUNDLE_VARIABLE = "GUIDEALIGN_BENCH_BUNDLE"
CANDIDATES = 20
CANDIDATE_CHARACTERS = 200

_CANDIDATE_TOLERANCE = 10
_ORACLE_SAMPLE = 200
_ORACLE_AGREEMENT = 0.98

Guided = Batch[GuidedPrompt]
# What a call must answer: positions, best first, and the messages.
Expected = tuple[list[int], Any]


def bundle_path() -> str | None:
    """The bundle to measure; None for the starter bundle."""
    return os.environ.get(BUNDLE_VARIABLE) or None


@dataclass(frozen=True, slots=True)
class Workbench:
    """An engine of one thread, one of two, and the prompts."""

    bundle: Bundle
    one_thread: Engine
    two_threads: Engine
    prompts: PromptSet
    _answers: dict[str, Expected] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls) -> Workbench:
        path = bundle_path()
        bundle = open_bundle(Path(path) if path else STARTER_BUNDLE)
        tokenizer = QueryTokenizer.from_bundle(bundle)
        return cls(
            bundle,
            load_engine(path, threads=1),
            load_engine(path, threads=2),
            load_prompts(tokenizer.count),
        )

    def count_tokens(self, prompts: Sequence[str]) -> list[int]:
        """Tokens of each prompt, whole."""
        return QueryTokenizer.from_bundle(self.bundle).count(prompts)

    def count_read_tokens(self, prompts: Sequence[str]) -> list[int]:
        """Tokens of what is left of each prompt after it is cut to a bounded number of characters."""
        return self.count_tokens(query_texts(prompts, QueryConfig()))

    def single(self, name: str, prompts: Sequence[str], engine: Engine, **options: Any) -> Scenario[str, Guided]:
        """One prompt a call, text in, messages out; checked against one `retrieve_batch` of all prompts."""
        found = engine.retrieve_batch(prompts, **options)
        expected = {prompt: retrieval.positions for prompt, retrieval in zip(prompts, found, strict=True)}

        def check(prompt: str, answer: Guided) -> None:
            (guided,) = answer
            assert guided.retrieval.positions == expected[prompt], f"wrong guidelines for {prompt!r}"
            _check_messages(prompt, guided)

        return Scenario(name, prompts, lambda prompt: engine.assemble_batch([prompt], **options), check)

    def short(self) -> Scenario[str, Guided]:
        return self.single("short", self.prompts.short, self.one_thread)

    def short_six(self) -> Scenario[str, Guided]:
        """Six guidelines for every prompt, also where the calibrated thresholds would leave some out."""
        return self.single("short_six", self.prompts.short, self.one_thread, min_score=-1.0)

    def long(self) -> Scenario[str, Guided]:
        return self.single("long", self._many_long(), self.one_thread)

    def _many_long(self) -> list[str]:
        return [prompt for batch in batches(self.prompts.long, size=1, count=300) for prompt in batch]

    def batch(self, *, size: int, threads: int, calls: int) -> Scenario[list[str], Guided]:
        """`size` prompts a call; checked against calls with one prompt on one thread."""
        engine = {1: self.one_thread, 2: self.two_threads}[threads]
        given = batches(self.prompts.short, size=size, count=calls)
        expected = self._single_answers()

        def check(prompts: list[str], answer: Guided) -> None:
            assert len(answer) == len(prompts)
            for prompt, guided in zip(prompts, answer, strict=True):
                assert (guided.retrieval.positions, guided.prompt) == expected[prompt], f"wrong answer for {prompt!r}"

        return Scenario(f"batch_{size}_threads_{threads}", given, engine.assemble_batch, check)

    def _single_answers(self) -> dict[str, Expected]:
        """Positions and messages of every short prompt, from calls with one prompt on one thread."""
        if not self._answers:
            self._answers.update((prompt, _expected(self.one_thread, prompt)) for prompt in self.prompts.short)
        return self._answers

    def dedupe(self, calls: int = 400) -> Scenario[list[int], SelectedBatch]:
        """20 real guidelines of about 200 characters, all wanted, so that each is compared with all that were kept."""
        library = self.one_thread.library
        entries = entries_of(library)
        fitting = [
            place
            for place, entry in enumerate(entries)
            if abs(len(entry) - CANDIDATE_CHARACTERS) <= _CANDIDATE_TOLERANCE
        ]
        assert len(fitting) >= CANDIDATES, f"the library has only {len(fitting)} guidelines of that length"
        draw = random.Random(0)
        config = SelectConfig(k=CANDIDATES)

        def call(candidates: list[int]) -> SelectedBatch:
            return select(ranked[tuple(candidates)], library, config)

        def check(candidates: list[int], answer: SelectedBatch) -> None:
            kept = answer.guidelines[0, : answer.counts[0]].tolist()
            assert kept == without_duplicates(candidates, entries, k=CANDIDATES)

        given = [draw.sample(fitting, CANDIDATES) for _ in range(calls)]
        ranked = {tuple(candidates): _ranked(candidates, library.vector_offsets) for candidates in given}
        return Scenario("dedupe", given, call, check)

    def recipe_and_engine(self, recipe: Any, calls: int) -> tuple[Scenario[str, Any], Scenario[str, Guided]]:
        """The recipe and the engine on the same prompts, six guidelines each."""
        prompts = self.prompts.short[:calls]
        expected = {prompt: _exact_answer(recipe, prompt) for prompt in prompts}

        def check(prompt: str, answer: Any) -> None:
            assert set(answer.positions) == expected[prompt], f"the recipe is wrong about {prompt!r}"
            system, user = answer.messages
            assert user["content"] == prompt
            assert all(recipe.entries[position] in system["content"] for position in answer.positions)

        ours = self.single("ours", prompts, self.one_thread, min_score=-1.0)
        return Scenario("recipe", prompts, recipe.assemble, check), ours

    def check_against_oracle(self) -> float:
        """Agreement with an exact search over a sample of the prompts. Raises AssertionError when it is too low."""
        oracle = Oracle.of(self.one_thread, self.bundle)
        sample = self.prompts.short[:_ORACLE_SAMPLE]
        found = self.one_thread.retrieve_batch(sample, min_score=-1.0)
        shares = [
            oracle.agreement(prompt, retrieval.positions) for prompt, retrieval in zip(sample, found, strict=True)
        ]
        agreement = float(np.mean(shares))
        assert agreement >= _ORACLE_AGREEMENT, f"only {agreement:.3f} of the best guidelines were found"
        return agreement


def timed_imports(count: int, module: str = "guidealign_engine") -> Timed:
    """Fresh processes that import a module. Raises AssertionError when one pulls in a heavy module."""
    fresh_process.import_module(module)
    runs = [fresh_process.import_module(module) for _ in range(count)]
    for run in runs:
        assert not run.heavy_modules, f"importing {module} imports {run.heavy_modules}"
    return _timed(runs)


def timed_loads(workbench: Workbench, count: int) -> Timed:
    """Fresh processes that load an engine. Raises AssertionError when one then answers differently."""
    prompt = workbench.prompts.short[0]
    expected = workbench.one_thread.retrieve_batch([prompt], min_score=-1.0)[0].positions
    fresh_process.load_engine(bundle_path(), prompt)
    runs = [fresh_process.load_engine(bundle_path(), prompt) for _ in range(count)]
    for run in runs:
        assert run.answer == expected
    return _timed(runs)


def _timed(runs: Sequence[fresh_process.FreshProcess]) -> Timed:
    return Timed(np.array([run.took_us for run in runs]), [{}])


def _expected(engine: Engine, prompt: str) -> Expected:
    (guided,) = engine.assemble_batch([prompt])
    return guided.retrieval.positions, guided.prompt


def _exact_answer(recipe: Any, prompt: str) -> set[int]:
    """What the recipe must find: every vector read, folded to guidelines, duplicates out."""
    starts = np.flatnonzero(np.diff(np.array(recipe.owners), prepend=-1))
    scores = np.maximum.reduceat(recipe.vectors @ recipe.embed([prompt])[0], starts)
    return set(without_duplicates(np.argsort(-scores, kind="stable").tolist(), recipe.entries, k=6))


def _check_messages(prompt: str, guided: GuidedPrompt) -> None:
    messages = guided.prompt
    assert isinstance(messages, list)
    *before, user = messages
    assert user["role"] == "user"
    if not guided.retrieval.positions:
        assert not before
        return
    (system,) = before
    for guideline in guided.retrieval.guidelines:
        assert " ".join(guideline.text.split()) in system["content"], f"a guideline is missing for {prompt!r}"


def _ranked(candidates: Sequence[int], vector_offsets: Any) -> RankedBatch:
    """The candidates of one request, best first."""
    positions = np.array([candidates], dtype=np.int32)
    return RankedBatch(
        guidelines=positions,
        scores=np.linspace(0.9, 0.3, len(candidates), dtype=np.float32)[None, :],
        matched=vector_offsets[positions].astype(np.int64),
        counts=np.array([len(candidates)], dtype=np.int32),
    )


def first(scenario: Scenario[Any, Any], calls: int) -> Scenario[Any, Any]:
    """The scenario with its first inputs only."""
    return replace(scenario, inputs=scenario.inputs[:calls])

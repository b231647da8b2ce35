"""More inputs like those that are there, written by a model, round by round."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from guidealign_engine.errors import ConfigError, GuidealignError
from guidealign_engine.offline.guidelines.answer_store import Answer, Question
from guidealign_engine.offline.guidelines.clusters import Evenness
from guidealign_engine.offline.guidelines.expand_plan import (
    MAX_EXAMPLE_CHARACTERS,
    Call,
    Group,
    plan_calls,
    wanted_by_type,
    wanted_where_thin,
)
from guidealign_engine.offline.guidelines.input_pool import Embed, InputPool
from guidealign_engine.offline.guidelines.inputs import Input
from guidealign_engine.offline.guidelines.new_inputs import ask_for_inputs, read_new_inputs
from guidealign_engine.offline.guidelines.rouge import MAX_ROUGE

# A group that was asked for and did not grow so often in a row is not asked for any more.
_DRY_ROUNDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpandConfig:
    """How much is asked for, and where."""

    per_type: int = 50
    """new inputs for each risk type; with `active`, so many on average"""
    rounds: int = 12
    per_call: int = 10
    max_rouge: float = MAX_ROUGE
    active: bool = False
    clusters_per_type: int | None = None
    judged: int = 4
    """inputs of each cluster that the detector is asked about"""
    seed: int = 13


@dataclass(frozen=True, slots=True)
class NumberedQuestion:
    """What the model is asked; `number` tells a question from another of the same words."""

    question: Question
    number: str


Ask = Callable[[Sequence[NumberedQuestion]], Sequence[Answer | GuidealignError]]
"""Answers in the order of the questions, the error for one that got none"""
Unsure = Callable[[Sequence[str]], Sequence[float]]
"""How unsure the detector is about each text, from 0 to 1"""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an expansion stands when a round begins."""

    round: int
    calls: int
    """of this round"""
    new: int
    wanted: int


OnRound = Callable[[Standing], None]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A call that brought nothing, and why."""

    category: str
    number: str
    why: str


@dataclass(slots=True)
class Tally:
    """What became of calls and of what they brought."""

    rounds: int = 0
    calls: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    alike: int = 0
    """inputs that are too much like one that is there"""
    surplus: int = 0
    """inputs beyond what was wanted"""
    judged: int = 0
    """inputs that the detector was asked about"""
    unsure: int = 0
    """of these, those on which its verdicts disagree"""


@dataclass(frozen=True, slots=True)
class Expansion:
    """New inputs, and how evenly inputs are spread over the clusters of the seeds before and after."""

    new: list[Input]
    wanted: int
    seeds_by_type: dict[str, int]
    new_by_type: dict[str, int]
    before: Evenness
    after: Evenness
    tally: Tally


def expand(
    seeds: Sequence[Input], config: ExpandConfig, *, ask: Ask, embed: Embed, unsure: Unsure | None, on_round: OnRound
) -> Expansion:
    """Asks for inputs like the seeds until there are enough, no group grows any more, or the rounds are over.

    Without `active` each risk type gets as many, by examples drawn from all its inputs. With it, the thinnest risk type
    comes first, and in it the thinnest cluster; one about which the detector is unsure counts as thinner.
    The same seeds, config and answers give the same inputs in the same order. unsure: None where nobody is asked.
    """
    if not seeds:
        raise ConfigError("there are no seeds; at least one input is needed to ask for more like it")
    pool = InputPool(
        seeds, embed, max_rouge=config.max_rouge, clusters_per_type=config.clusters_per_type, seed=config.seed
    )
    wanted = config.per_type * len(pool.by_type())
    rounds = _Rounds(pool, config, unsure)
    while rounds.tally.rounds < config.rounds and (calls := rounds.plan()):
        on_round(Standing(rounds.tally.rounds + 1, len(calls), len(pool.new), wanted))
        rounds.take(calls, ask([_question(call, pool) for call in calls]))
    return Expansion(
        new=pool.new,
        wanted=wanted,
        seeds_by_type={group.category: len(group.seeds) for group in pool.by_type()},
        new_by_type={group.category: len(group.new) for group in pool.by_type()},
        before=pool.evenness(of_seeds=True),
        after=pool.evenness(),
        tally=rounds.tally,
    )


def _question(call: Call, pool: InputPool) -> NumberedQuestion:
    examples = [pool.inputs[row].text[:MAX_EXAMPLE_CHARACTERS] for row in call.examples]
    return NumberedQuestion(ask_for_inputs(examples, call.category, call.count), call.number)


class _Rounds:
    """What is asked round by round, and what came of it."""

    def __init__(self, pool: InputPool, config: ExpandConfig, unsure: Unsure | None) -> None:
        self.tally = Tally()
        self._pool = pool
        self._config = config
        self._ask_unsure = unsure
        self._unsure: dict[int, float] = {}
        self._rounds_without_growth = Counter[int]()
        self._groups = self._group()
        self._wanted: list[int] = []

    def plan(self) -> list[Call]:
        """The calls of the next round; none when nothing is wanted, or nothing can be had."""
        closed = {place for place, rounds in self._rounds_without_growth.items() if rounds >= _DRY_ROUNDS}
        if self._config.active:
            budget = self._config.per_type * len(self._pool.by_type()) - len(self._pool.new)
            self._judge_more(budget)
            self._wanted = wanted_where_thin(self._groups, self._unsure_groups(), budget, closed)
        else:
            wanted = wanted_by_type(self._groups, self._config.per_type)
            self._wanted = [0 if place in closed else count for place, count in enumerate(wanted)]
        return plan_calls(
            self._groups,
            self._wanted,
            per_call=self._config.per_call,
            round_number=self.tally.rounds + 1,
            seed=self._config.seed,
            unsure=self._unsure,
        )

    def take(self, calls: Sequence[Call], answers: Sequence[Answer | GuidealignError]) -> None:
        """Puts new inputs into the pool, in the order of the calls whatever the order of the answers was."""
        self.tally.rounds += 1
        self.tally.calls += len(calls)
        answered, taken = set[int](), Counter[int]()
        for call, answer in zip(calls, answers, strict=True):
            if isinstance(answer, GuidealignError):
                self.tally.skipped.append(Skipped(call.category, call.number, str(answer)))
                continue
            answered.add(call.group)
            texts = read_new_inputs(answer.text, cut=answer.cut)
            if not texts:
                cut = f", cut off after {answer.completion_tokens} tokens" if answer.cut else ""
                why = f"there is no list of inputs in the answer{cut}: {answer.text[:80]!r}"
                self.tally.skipped.append(Skipped(call.category, call.number, why))
            for text in texts:
                self._take_text(text, call, taken)
        self._pool.settle()
        grown = self._group()
        for place in answered:
            grew = len(grown[place]) > len(self._groups[place])
            self._rounds_without_growth[place] = 0 if grew else self._rounds_without_growth[place] + 1
        self._groups = grown

    def _take_text(self, text: str, call: Call, taken: Counter[int]) -> None:
        if taken[call.group] >= self._wanted[call.group]:
            self.tally.surplus += 1
        elif self._pool.add(Input(text=text, category=call.category, place=f"round {self.tally.rounds}")):
            taken[call.group] += 1
        else:
            self.tally.alike += 1

    def _group(self) -> list[Group]:
        return self._pool.by_cluster() if self._config.active else self._pool.by_type()

    def _judge_more(self, budget: int) -> None:
        """Asks the detector about some inputs of every cluster, once about each."""
        if self._ask_unsure is None or budget == 0:
            return
        rows = []
        for place, group in enumerate(self._groups):
            unjudged = [row for row in group.rows if row not in self._unsure]
            lacking = self._config.judged - (len(group) - len(unjudged))
            rng = Random(f"{self._config.seed}.judged.{self.tally.rounds}.{place}")
            rows += rng.sample(unjudged, max(0, min(lacking, len(unjudged))))
        if rows:
            found = self._ask_unsure([self._pool.inputs[row].text for row in rows])
            self._unsure.update(zip(rows, found, strict=True))
            self.tally.judged += len(rows)
            self.tally.unsure += sum(value > 0 for value in found)

    def _unsure_groups(self) -> list[float]:
        """How unsure the detector is about each cluster, on average over what it was asked about."""
        judged = [[self._unsure[row] for row in group.rows if row in self._unsure] for group in self._groups]
        return [sum(values) / len(values) if values else 0.0 for values in judged]

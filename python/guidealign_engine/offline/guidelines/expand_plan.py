"""Whom to ask for more inputs next, and with which examples. The same state and seed give the same plan."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

MAX_EXAMPLE_CHARACTERS = 2_000
# Two of eight examples are a model's own, as in self-instruct: they lead away from the seeds, but not too far.
_EXAMPLES = 8
_NEW_EXAMPLES = 2
FEWEST_EXAMPLES = 4
"""A cluster of fewer inputs borrows examples from the rest of its risk type"""
# Examples are drawn among so many, chosen without weights, so that a large group costs no more than a small one.
_CANDIDATES = 64
# How much likelier an input is drawn on which the detector is as unsure as can be.
_UNSURE_WEIGHT = 4.0
# Some of the answers will be dropped for being like others.
_SPARE = 2


@dataclass(frozen=True, slots=True)
class Group:
    """Inputs that are asked for together: those of a risk type, or of a cluster inside one. Positions of inputs."""

    category: str
    seeds: Sequence[int]
    new: Sequence[int]
    others: Sequence[int] = ()
    """seeds of the risk type outside the cluster, where the cluster has few of its own"""

    def __len__(self) -> int:
        return len(self.seeds) + len(self.new)

    @property
    def rows(self) -> list[int]:
        return [*self.seeds, *self.new]


@dataclass(frozen=True, slots=True)
class Call:
    """A question to the model: `count` new inputs like the examples, for a group; `number` tells it from others."""

    group: int
    category: str
    examples: tuple[int, ...]
    count: int
    number: str


def wanted_by_type(groups: Sequence[Group], per_type: int) -> list[int]:
    """How many inputs each risk type lacks."""
    return [max(0, per_type - len(group.new)) for group in groups]


def wanted_where_thin(groups: Sequence[Group], unsure: Sequence[float], budget: int, closed: set[int]) -> list[int]:
    """How many of `budget` inputs each cluster gets: the thinnest risk type first, in it the thinnest cluster.

    unsure: from 0 to 1, how unsure the detector is about a cluster; one about which it knows nothing at all counts as
    half as large, and so does a type by the mean of its clusters. closed: clusters that are not asked any more.
    """
    by_type: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        by_type.setdefault(group.category, []).append(place)
    open_types = [places for places in by_type.values() if not closed.issuperset(places)]
    shares = _fill(
        [sum(len(groups[place]) for place in places) for places in open_types],
        [sum(unsure[place] for place in places) / len(places) for places in open_types],
        budget,
    )
    wanted = [0] * len(groups)
    for places, share in zip(open_types, shares, strict=True):
        asked = [place for place in places if place not in closed]
        given = _fill([len(groups[place]) for place in asked], [unsure[place] for place in asked], share)
        for place, count in zip(asked, given, strict=True):
            wanted[place] = count
    return wanted


def _fill(counts: Sequence[int], unsure: Sequence[float], budget: int) -> list[int]:
    """How many each is given, one by one, when the thinnest by then always comes next."""
    given = [0] * len(counts)
    heap = [(count / (1.0 + doubt), place) for place, (count, doubt) in enumerate(zip(counts, unsure, strict=True))]
    heapq.heapify(heap)
    for _ in range(budget if heap else 0):
        _, place = heap[0]
        given[place] += 1
        heapq.heapreplace(heap, ((counts[place] + given[place]) / (1.0 + unsure[place]), place))
    return given


def plan_calls(
    groups: Sequence[Group],
    wanted: Sequence[int],
    *,
    per_call: int,
    round_number: int,
    seed: int,
    unsure: Mapping[int, float],
) -> list[Call]:
    """The calls of a round. A group asks for no more than it holds, so that later calls see new examples.

    unsure: position of an input → from 0 to 1, how unsure the detector is about it.
    """
    calls = []
    for place, group in enumerate(groups):
        left = min(wanted[place], max(per_call, len(group)))
        while left > 0:
            number = f"{seed}.{round_number}.{place}.{left}"
            calls.append(
                Call(
                    group=place,
                    category=group.category,
                    examples=_draw(group, Random(number), lambda row: unsure.get(row, 0.0)),
                    count=min(per_call, left + _SPARE),
                    number=number,
                )
            )
            left -= per_call
    return calls


def _draw(group: Group, rng: Random, unsure: Callable[[int], float]) -> tuple[int, ...]:
    """Examples of a group without repetition, mostly seeds, in an order of chance."""
    new = min(len(group.new), max(_NEW_EXAMPLES, _EXAMPLES - len(group.seeds)))
    drawn = _weighted(group.seeds, _EXAMPLES - new, rng, unsure) + _weighted(group.new, new, rng, unsure)
    drawn += _weighted(group.others, max(0, FEWEST_EXAMPLES - len(drawn)), rng, unsure)
    rng.shuffle(drawn)
    return tuple(drawn)


def _weighted(rows: Sequence[int], count: int, rng: Random, unsure: Callable[[int], float]) -> list[int]:
    """`count` of the rows; a weight of w makes a row w times as likely to be drawn next."""
    candidates = rng.sample(rows, min(len(rows), _CANDIDATES))
    keys = [(rng.random() ** (1.0 / (1.0 + (_UNSURE_WEIGHT - 1.0) * unsure(row))), row) for row in candidates]
    return [row for _, row in heapq.nlargest(count, keys)]

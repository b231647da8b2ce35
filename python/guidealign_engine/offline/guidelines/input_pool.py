"""The inputs that are there: seeds first, then those that a model wrote, by risk type and cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.offline.guidelines.clusters import Evenness
from guidealign_engine.offline.guidelines.expand_plan import FEWEST_EXAMPLES, Group
from guidealign_engine.offline.guidelines.inputs import Input
from guidealign_engine.offline.guidelines.rouge import KeptInputs
from guidealign_engine.offline.guidelines.type_clusters import TypeClusters

Embed = Callable[[Sequence[str]], NDArray[np.float32]]


class InputPool:
    """Grows by inputs that are not too much like any that is there."""

    def __init__(
        self, seeds: Sequence[Input], embed: Embed, *, max_rouge: float, clusters_per_type: int | None, seed: int
    ) -> None:
        self.inputs = list(seeds)
        self.seeds = len(seeds)
        self._embed = embed
        self._kept = KeptInputs(max_rouge)
        for item in seeds:
            self._kept.keep(item.text)
        categories = [item.category for item in seeds]
        vectors = embed([item.text for item in seeds])
        self._clusters = TypeClusters.fit(categories, vectors, per_type=clusters_per_type, seed=seed)
        self._cluster_of: list[int] = self._clusters.of(categories, vectors).tolist()

    def add(self, item: Input) -> bool:
        """Takes the input unless it is too much like one that is there. `settle` has to follow."""
        if self._kept.most_alike(item.text) is not None:
            return False
        self._kept.keep(item.text)
        self.inputs.append(item)
        return True

    def settle(self) -> None:
        """Puts what was added into its clusters."""
        added = self.inputs[len(self._cluster_of) :]
        if added:
            vectors = self._embed([item.text for item in added])
            self._cluster_of += self._clusters.of([item.category for item in added], vectors).tolist()

    @property
    def new(self) -> list[Input]:
        return self.inputs[self.seeds :]

    def by_type(self) -> list[Group]:
        """A group for each risk type, in the order in which the seeds name them."""
        types = {category: number for number, category in enumerate(dict.fromkeys(self._clusters.categories))}
        return self._groups(list(types), [types[item.category] for item in self.inputs])

    def by_cluster(self) -> list[Group]:
        """A group for each cluster inside a risk type."""
        groups = self._groups(self._clusters.categories, self._cluster_of)
        seeds = {group.category: group.seeds for group in self.by_type()}
        return [
            group
            if len(group) >= FEWEST_EXAMPLES
            else replace(group, others=[row for row in seeds[group.category] if self._cluster_of[row] != number])
            for number, group in enumerate(groups)
        ]

    def evenness(self, *, of_seeds: bool = False) -> Evenness:
        """How evenly all inputs, or the seeds, are spread over the clusters."""
        rows = self._cluster_of[: self.seeds] if of_seeds else self._cluster_of
        return Evenness.of(np.bincount(rows, minlength=len(self._clusters)))

    def _groups(self, categories: Sequence[str], numbers: Sequence[int]) -> list[Group]:
        seeds: list[list[int]] = [[] for _ in categories]
        new: list[list[int]] = [[] for _ in categories]
        for row, number in enumerate(numbers):
            (seeds if row < self.seeds else new)[number].append(row)
        return [Group(*group) for group in zip(categories, seeds, new, strict=True)]

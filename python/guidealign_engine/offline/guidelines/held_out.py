"""Inputs held out from a library: which guidelines have one in every split, and which lack one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guidealign_engine.library import GuidelineRecord
from guidealign_engine.pairs import SPLITS, Pair

HELD_OUT_SPLITS = ("dev", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Pairs beside the library that they belong to."""

    inputs: Mapping[str, int]
    """split → inputs"""
    without_guideline: Mapping[str, int]
    """split → inputs for which no guideline fits"""
    with_several: Mapping[str, int]
    """split → inputs for which more than one guideline fits"""
    by_guideline: Mapping[str, Mapping[str, int]]
    """split → guideline id → inputs, for every guideline of the library"""
    unknown: Mapping[str, int]
    """ids that pairs name and the library lacks → pairs that name them"""
    indexed: tuple[str, ...]
    """dev and test inputs that are examples as well, so that they measure nothing"""

    @classmethod
    def of(cls, records: Sequence[GuidelineRecord], pairs: Sequence[Pair]) -> HeldOut:
        ids = {record.id for record in records}
        examples = {_spaced(example) for record in records for example in record.examples}
        named = {split: Counter(_named(pair for pair in pairs if pair.split == split)) for split in SPLITS}
        return cls(
            inputs=_by_split(pairs),
            without_guideline=_by_split(pair for pair in pairs if not pair.positive),
            with_several=_by_split(pair for pair in pairs if len(pair.positive) > 1),
            by_guideline={
                split: {record.id: named[split][record.id] for record in records} for split in HELD_OUT_SPLITS
            },
            unknown={id: count for id, count in sorted(Counter(_named(pairs)).items()) if id not in ids},
            indexed=tuple(
                pair.input for pair in pairs if pair.split in HELD_OUT_SPLITS and _spaced(pair.input) in examples
            ),
        )

    def lacking(self, split: str) -> list[str]:
        """Ids of the guidelines without an input in the split, in library order."""
        return [id for id, count in self.by_guideline[split].items() if count == 0]

    def as_dict(self) -> dict[str, Any]:
        return {
            "inputs": dict(self.inputs),
            "without_guideline": dict(self.without_guideline),
            "with_several": dict(self.with_several),
            "lacking": {split: self.lacking(split) for split in HELD_OUT_SPLITS},
            "unknown": dict(self.unknown),
            "indexed": list(self.indexed),
        }


def _named(pairs: Iterable[Pair]) -> Iterable[str]:
    """Each guideline once for each pair that names it."""
    return (id for pair in pairs for id in dict.fromkeys(pair.positive))


def _by_split(pairs: Iterable[Pair]) -> dict[str, int]:
    counts = Counter(pair.split for pair in pairs)
    return {split: counts[split] for split in SPLITS}


def _spaced(text: str) -> str:
    return " ".join(text.split())

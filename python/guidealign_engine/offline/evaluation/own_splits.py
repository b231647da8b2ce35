"""The held-out inputs of a library's own pairs as query sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from guidealign_engine.errors import ConfigError
from guidealign_engine.held_out_pairs import plain
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.offline.evaluation.judged import JudgedLibrary, JudgedQueries, positions_of
from guidealign_engine.offline.guidelines.held_out import HELD_OUT_SPLITS
from guidealign_engine.pairs import Pair

GRADED = "graded"


def own_library(records: Sequence[GuidelineRecord], pairs: Sequence[Pair], bundle: Path | None = None) -> JudgedLibrary:
    """Query sets dev and test, of ungraded pairs, and graded, of held-out pairs with grades if there are any.

    Inputs for which no guideline fits measure nothing in a ranking and are left out.
    Raises ConfigError for a pair that names an unknown guideline, for a split without inputs, and for an input that is
    in two splits, or in one and among the library's examples, however it is spaced, cased or punctuated.
    """
    _check(records, pairs)
    positions = positions_of(records)
    sets = []
    for split in HELD_OUT_SPLITS:
        chosen = [pair for pair in pairs if pair.split == split and pair.positive and not pair.grades]
        if not chosen:
            raise ConfigError(
                f"split {split} of the pairs holds no input that a guideline fits; both dev and test must"
            )
        sets.append(_queries(split, chosen, positions))
    graded = [pair for pair in pairs if pair.split in HELD_OUT_SPLITS and pair.grades]
    if graded:
        sets.append(_queries(GRADED, graded, positions))
    return JudgedLibrary(tuple(records), tuple(sets), bundle)


def _queries(name: str, pairs: Sequence[Pair], positions: dict[str, int]) -> JudgedQueries:
    relevance = tuple(
        {positions[id]: grade for id, grade in zip(pair.positive, pair.grades or [1] * len(pair.positive), strict=True)}
        for pair in pairs
    )
    return JudgedQueries(name, tuple(pair.input for pair in pairs), relevance)


def _check(records: Sequence[GuidelineRecord], pairs: Sequence[Pair]) -> None:
    unknown = sorted({id for pair in pairs for id in pair.positive} - positions_of(records).keys())
    if unknown:
        raise ConfigError(
            f"pairs name {len(unknown)} guidelines that the library lacks, such as {', '.join(unknown[:3])}; "
            "give --bundle or --guidelines that hold them"
        )
    trained = {plain(pair.input) for pair in pairs if pair.split not in HELD_OUT_SPLITS}
    trained |= {plain(example) for record in records for example in record.examples}
    dev = {plain(pair.input) for pair in pairs if pair.split == "dev"}
    for what, seen, splits in (
        ("training inputs or examples", trained, HELD_OUT_SPLITS),
        ("inputs of split dev", dev, ("test",)),
    ):
        leaked = [pair.input for pair in pairs if pair.split in splits and plain(pair.input) in seen]
        if leaked:
            raise ConfigError(
                f"{len(leaked)} inputs of split {' or '.join(splits)} are {what} as well, such as {leaked[0][:80]!r}; "
                "take them out of one side"
            )

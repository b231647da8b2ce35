"""The dev split of pair files, and nothing of the test split."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from guidealign_engine.errors import ConfigError
from guidealign_engine.pairs import Pair, read_pairs


def read_dev_pairs(paths: Sequence[Path], guidelines: Collection[str] | None = None) -> list[Pair]:
    """The pairs of the dev split.

    guidelines: the library's ids, which pairs may name; None lets them name any.
    Raises ConfigError when there are none, when one of them names an unknown guideline, and when a dev input is a test
    input as well, however it is spaced, cased or punctuated.
    """
    pairs = read_pairs(paths)
    dev = [pair for pair in pairs if pair.split == "dev"]
    if not dev:
        raise ConfigError(
            f"{', '.join(map(str, paths))}: {len(pairs)} pairs and none of split dev; "
            'mark some with "split": "dev", since the others are trained on or kept for the last test'
        )
    if guidelines is not None:
        unknown = sorted({id for pair in dev for id in pair.positive} - set(guidelines))
        if unknown:
            raise ConfigError(
                f"dev pairs name {len(unknown)} guidelines that the library lacks, such as {', '.join(unknown[:3])}; "
                "give the pairs that belong to this library"
            )
    tested = {plain(pair.input) for pair in pairs if pair.split == "test"}
    shared = [pair.input for pair in dev if plain(pair.input) in tested]
    if shared:
        raise ConfigError(
            f"{len(shared)} dev inputs are test inputs as well, such as {shared[0][:80]!r}; take them out of one split"
        )
    return dev


def plain(text: str) -> str:
    """Letters and digits alone, so that spacing, case and punctuation make no other input."""
    return "".join(character for character in text.casefold() if character.isalnum())

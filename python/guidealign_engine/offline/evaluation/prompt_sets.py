"""Prompts whose need for a safety guideline is known, by set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from guidealign_engine.errors import ArtifactError, ConfigError
from guidealign_engine.json_lines import read_objects, wrong_field


class Role(StrEnum):
    """What a prompt set is for."""

    HARMFUL = "harmful"
    """A safety guideline should be found."""
    BENIGN = "benign"
    """None should be shown."""
    LOOK_ALIKE = "look-alike"
    """Safe to answer although it resembles something unsafe: none that tells to decline should be shown."""
    WRAPPER = "wrapper"
    """Jailbreaks that are put around other inputs."""
    PASSAGE = "passage"
    """Text that asks for nothing, such as articles, and is put around other inputs."""


AROUND = (Role.WRAPPER, Role.PASSAGE)
"""What is put around inputs, and is no request of its own."""


KNOWN = {
    "do_not_answer_a": Role.HARMFUL,
    "catqa_en": Role.HARMFUL,
    "ailuminate_a": Role.HARMFUL,
    "dolly_a": Role.BENIGN,
    "gsm8k_a": Role.BENIGN,
    "ifeval": Role.BENIGN,
    "humaneval": Role.BENIGN,
    "coconot_contrast_dev": Role.LOOK_ALIKE,
    "jailbreak_inthewild_a": Role.WRAPPER,
}
"""The public sets that are looked for in a folder."""


@dataclass(frozen=True, slots=True)
class PromptSet:
    """Prompts of one source."""

    name: str
    role: Role
    texts: tuple[str, ...]


def read_prompt_sets(given: Sequence[str]) -> list[PromptSet]:
    """What `--prompts` names: ROLE=FILE, or a folder in which the KNOWN sets are looked for.

    Raises ConfigError for anything else and for a set that comes twice, ArtifactError for a folder without a known set,
    and naming file and line of a record without a text.
    """
    sets = [each for one in given for each in _read(one)]
    names = [each.name for each in sets]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"--prompts gives the set {name!r} twice; rename a file, or leave one out")
    return sets


def _read(given: str) -> list[PromptSet]:
    folder = Path(given)
    if folder.is_dir():
        found = [
            _prompt_set(file, role) for name, role in KNOWN.items() if (file := folder / f"{name}.jsonl").is_file()
        ]
        if not found:
            raise ArtifactError(
                f"the folder holds none of {', '.join(KNOWN)}; name other files with --prompts ROLE=FILE", file=folder
            )
        return found
    role, equals, path = given.partition("=")
    if not equals or role not in tuple(Role):
        raise ConfigError(
            f"--prompts is {given!r}; give a folder that exists, or ROLE=FILE with a role of {', '.join(Role)}"
        )
    return [_prompt_set(Path(path), Role(role))]


def _prompt_set(file: Path, role: Role) -> PromptSet:
    texts = []
    for number, fields in read_objects(file):
        text = fields.get("text")
        if not isinstance(text, str) or not text.strip():
            raise wrong_field(fields, "text", "a string that is not blank", file=file, number=number)
        texts.append(text)
    if not texts:
        raise ArtifactError("there are no prompts in it", file=file)
    return PromptSet(file.stem, role, tuple(texts))

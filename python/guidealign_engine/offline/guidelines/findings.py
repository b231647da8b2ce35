"""What `guidealign library lint` may find, and how it is told."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path

from guidealign_engine.errors import ConfigError
from guidealign_engine.offline.guidelines.guideline_lines import GuidelineLine


class Severity(StrEnum):
    """Errors make a library unfit to be shipped; warnings are worth a look."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of finding."""

    severity: Severity
    about: str
    next_step: str


_E, _W = Severity.ERROR, Severity.WARNING
RULES = {
    "bad-record": Rule(_E, "a line that is no guideline", "mend the line"),
    "duplicate-id": Rule(_E, "an id that two guidelines have", "give the guideline an id of its own"),
    "near-duplicate": Rule(
        _E,
        "guidelines whose title and text are nearly the same",
        "keep one of them, as guidealign library merge does, or tell them apart",
    ),
    "override": Rule(
        _E,
        "a text that orders the model to drop its instructions",
        "reword it, or put the order in quotation marks if the guideline is about such orders",
    ),
    "link": Rule(_E, "a web address in title or text", "name the kind of place instead"),
    "control-token": Rule(_E, "what a chat template takes for the start of a turn", "take it out"),
    "delimiter": Rule(_E, "a mark that encloses the guidelines in a prompt", "take it out"),
    "hidden-character": Rule(_E, "characters that no reader sees", "take them out"),
    "empty-field": Rule(_E, "a field without a letter or digit", "write it, or take it out"),
    "held-out-leak": Rule(
        _E, "a dev or test input that is an example as well", "write another held-out input, or take the example out"
    ),
    "unknown-id": Rule(_E, "a pair with an id that no guideline has", "mend the pair"),
    "long-field": Rule(_W, "a field that is very long", "shorten it, or make two guidelines of it"),
    "no-category": Rule(_W, "a guideline without a category", "give it one"),
    "few-examples": Rule(_W, "a guideline with few examples", "write more inputs that it is for"),
    "shared-example": Rule(_W, "an example that several guidelines have", "leave it where it fits best"),
    "repeated-example": Rule(_W, "an example that a guideline has twice", "take one of them out"),
    "unreached": Rule(
        _W, "a guideline that no input finds", "write examples that only it fits, or take the guideline out"
    ),
    "hub": Rule(_W, "a guideline that too many inputs find", "make its text and examples more specific"),
    "contradiction": Rule(
        _W, "two guidelines close in meaning, of which one declines and the other helps", "read both side by side"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that breaks a rule, and where."""

    rule: str
    file: Path
    line: int
    message: str
    id: str | None = None

    @classmethod
    def at(cls, line: GuidelineLine, rule: str, message: str) -> Finding:
        return cls(rule=rule, file=line.file, line=line.number, id=line.record.id, message=message)

    @property
    def severity(self) -> Severity:
        return RULES[self.rule].severity

    @property
    def next_step(self) -> str:
        return RULES[self.rule].next_step

    def as_dict(self) -> dict[str, str | int | None]:
        return {
            "severity": self.severity.value,
            "rule": self.rule,
            "file": str(self.file),
            "line": self.line,
            "id": self.id,
            "message": self.message,
            "next_step": self.next_step,
        }


def choose_rules(ignored: Collection[str]) -> frozenset[str]:
    """All rules but the ignored ones. Raises ConfigError for a name that no rule has."""
    for name in ignored:
        if name not in RULES:
            near = get_close_matches(name, RULES, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; allowed: {', '.join(RULES)}"
            raise ConfigError(f"--ignore is {name!r}, and no rule has that name{hint}")
    return frozenset(RULES) - set(ignored)

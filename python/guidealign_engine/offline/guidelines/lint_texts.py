"""What may be wrong with one guideline alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from guidealign_engine.config import PromptConfig
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.offline.guidelines.findings import Finding
from guidealign_engine.offline.guidelines.guideline_lines import GuidelineLine
from guidealign_engine.offline.guidelines.overrides import find_override

_LINK = re.compile(r"(?:https?|ftp)://\S+|\bwww\.\w\S*|\b(?:mailto|javascript|data):\S+|\]\([^)\s]+\)", re.IGNORECASE)
_CONTROL_TOKEN = re.compile(
    r"<\|[^|<>\n]{1,40}\|>|<｜[^｜<>\n]{1,40}｜>|\[/?INST\]|<</?SYS>>|\[/?(?:AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]"
    r"|</?(?:s|bos|eos|pad|unk|start_of_turn|end_of_turn|think|tool_call|tool_response)>"
    r"|^\s*(?:#{2,}\s*)?(?:system|assistant|user|human)\s*:",
    re.IGNORECASE | re.MULTILINE,
)
_HIDDEN = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)
_DELIMITER = re.compile("|".join(map(re.escape, PromptConfig().markers)), re.IGNORECASE)
_SHOWN = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """How long fields may be, in characters, and how many examples there must be."""

    title: int = 100
    text: int = 600
    example: int = 8_000
    fewest_examples: int = 3


def lint_guideline(line: GuidelineLine, lengths: Lengths) -> Iterator[Finding]:
    """Findings of the rules that need no other guideline."""
    record = line.record
    for rule, message in (*_unsafe(record), *_sizes(record, lengths)):
        yield Finding.at(line, rule, message)


def _unsafe(record: GuidelineRecord) -> Iterator[tuple[str, str]]:
    """What must not get into a prompt. Examples never do, and may well hold attacks."""
    for name, text in (("title", record.title), ("text", record.text)):
        if (order := find_override(text)) is not None:
            yield "override", f"the {name} orders: {_short(order)}"
        for rule, pattern in (("link", _LINK), ("control-token", _CONTROL_TOKEN), ("delimiter", _DELIMITER)):
            if found := pattern.search(text):
                yield rule, f"the {name} holds {_short(found[0].strip())}"
        if found := _HIDDEN.search(text):
            yield "hidden-character", f"the {name} holds U+{ord(found[0]):04X} at character {found.start()}"


def _sizes(record: GuidelineRecord, lengths: Lengths) -> Iterator[tuple[str, str]]:
    fields = [("title", record.title, lengths.title), ("text", record.text, lengths.text)]
    fields += [(f"example {number}", text, lengths.example) for number, text in enumerate(record.examples, start=1)]
    for name, text, most in fields:
        if len(text) > most:
            yield "long-field", f"the {name} has {len(text):,} characters; at most {most:,} read well"
        if not any(map(str.isalnum, text)):
            yield "empty-field", f"the {name} is {_short(text)}"
    if not record.category.strip():
        yield "no-category", "the category is empty"
    if len(record.examples) < lengths.fewest_examples:
        yield "few-examples", f"{len(record.examples)} examples; at least {lengths.fewest_examples} are wanted"


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…")

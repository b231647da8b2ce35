"""What a merge writes: the guidelines that stay, what became of the others, and pairs with the ids that are left."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from guidealign_engine.errors import ArtifactError
from guidealign_engine.offline.guidelines.doubles import without_doubles
from guidealign_engine.offline.guidelines.input_files import json_records
from guidealign_engine.offline.guidelines.merge import OnSkip, Report
from guidealign_engine.offline.guidelines.merge_outcome import Merge, Way
from guidealign_engine.offline.guidelines.raw_library import RawLine

_NAMED_IN_SOURCE = 20
_LINES_PER_REPORT = 2000


@dataclass(slots=True)
class WrittenGuidelines:
    """What was written."""

    guidelines: int = 0
    examples: int = 0


@dataclass(slots=True)
class WrittenPairs:
    """What became of the pairs."""

    pairs: int = 0
    changed: int = 0
    unknown: int = 0
    """ids that no raw guideline has, kept as they are"""
    skipped: int = 0

    def as_dict(self) -> dict[str, int]:
        return {"pairs": self.pairs, "changed": self.changed, "unknown": self.unknown}


def write_merged(
    merge: Merge, guidelines: TextIO, merged: TextIO, report: Report = lambda line: None
) -> WrittenGuidelines:
    """Writes the guidelines that stay, with the examples of all that went into them, and a line for each that went."""
    into = merge.into()
    order = np.argsort(into, kind="stable")
    starts = np.flatnonzero(np.diff(into[order], prepend=-1))
    written = WrittenGuidelines()
    for members in np.split(order, starts[1:]) if len(order) else ():
        stays, *went = members.tolist()
        (own, *others) = list(merge.raw.read([stays, *went]))
        line, examples = _united(own, others, [merge.raw.ids[number] for number in went])
        guidelines.write(line)
        for number, other in zip(went, others, strict=True):
            merged.write(_provenance(merge, number, stays, other.fields))
        written.guidelines += 1
        written.examples += examples
        if written.guidelines % _LINES_PER_REPORT == 0:
            report(f"  {written.guidelines:,} of {len(starts):,} guidelines written")
    return written


def rewrite_pairs(files: Iterable[Path], merge: Merge, out: TextIO, *, strict: bool, on_skip: OnSkip) -> WrittenPairs:
    """Writes the pairs with the ids that are left; an id that no guideline has stays as it is.

    on_skip: is given what is wrong with a record, which is left out; `strict` raises it instead.
    """
    into = merge.into()
    ids = merge.raw.ids
    written = WrittenPairs()

    def left(id: str) -> str:
        number = merge.raw.number_of(id)
        written.unknown += number is None
        return id if number is None else ids[into[number]]

    for pair in _pairs(files):
        if isinstance(pair, ArtifactError):
            if strict:
                raise pair
            written.skipped += 1
            on_skip(pair)
            continue
        positive = _renamed(pair["positive"], left)
        fields = {**pair, "positive": positive}
        if "negative" in pair:
            # Two guidelines of which one fits and the other does not may have become one, which fits.
            fields["negative"] = _renamed(pair["negative"], left, but=positive)
        written.pairs += 1
        written.changed += fields != pair
        out.write(json.dumps(fields, ensure_ascii=False) + "\n")
    return written


def _united(own: RawLine, others: Sequence[RawLine], other_ids: Sequence[str]) -> tuple[str, int]:
    """The line of a guideline that stays, as it was where nothing is to be added, and its number of examples."""
    own_examples = own.fields.get("examples", [])
    examples = without_doubles([*own_examples, *(one for other in others for one in other.fields.get("examples", []))])
    fields = {**own.fields, "examples": examples}
    went = [id for id in dict.fromkeys(other_ids) if id != own.fields["id"]]
    if went:
        fields["source"] = _source(own.fields.get("source", ""), went)
    if not went and examples == list(own_examples):
        return own.text.rstrip("\r\n") + "\n", len(examples)
    return json.dumps(fields, ensure_ascii=False) + "\n", len(examples)


def _source(source: str, ids: Sequence[str]) -> str:
    named = ", ".join(ids[:_NAMED_IN_SOURCE])
    more = f" and {len(ids) - _NAMED_IN_SOURCE:,} more" if len(ids) > _NAMED_IN_SOURCE else ""
    merged = f"merged with {named}{more}"
    return f"{source}; {merged}" if source else merged


def _provenance(merge: Merge, number: int, into: int, fields: Mapping[str, Any]) -> str:
    raw = merge.raw
    line = {
        "id": raw.ids[number],
        "into": raw.ids[into],
        "by": Way(merge.ways[number]).name.lower(),
        "like": raw.ids[merge.like[number]],
        "likeness": round(merge.likeness[number], 4),
        "kind": fields["kind"],
        "title": fields["title"],
        "text": fields["text"],
        "source": fields.get("source", ""),
        "file": str(raw.file(number)),
        "line": raw.line(number),
    }
    return json.dumps(line, ensure_ascii=False) + "\n"


def _pairs(files: Iterable[Path]) -> Iterator[dict[str, Any] | ArtifactError]:
    for file in files:
        for record in json_records(file):
            if isinstance(record, ArtifactError):
                yield record
                continue
            fields = dict(record.fields)
            wrong = _wrong(fields)
            yield ArtifactError(f"{record.place}: {wrong[1]}", file=file, field=wrong[0]) if wrong else fields


def _wrong(fields: Mapping[str, Any]) -> tuple[str, str] | None:
    """The field that makes it no pair, and what is wrong with it."""
    if not isinstance(fields.get("input"), str):
        return "input", "it is missing, or no string"
    for name, without in (("positive", None), ("negative", [])):
        ids = fields.get(name, without)
        grades = ids.values() if isinstance(ids, dict) else ()
        if not isinstance(ids, (list, dict)) or not all(isinstance(id, str) for id in ids):
            return name, "must be a list of guideline ids, or an object that gives each id a grade"
        if not all(isinstance(grade, (int, float)) for grade in grades):
            return name, "holds a grade that is no number"
    return None


def _renamed(
    ids: list[str] | dict[str, float], left: Callable[[str], str], *, but: Container[str] = ()
) -> list[str] | dict[str, float]:
    """Without doubles; of several grades for one guideline the highest."""
    if isinstance(ids, list):
        return [id for id in dict.fromkeys(map(left, ids)) if id not in but]
    grades = dict[str, float]()
    for id, grade in ids.items():
        name = left(id)
        if name not in but:
            grades[name] = max(grade, grades.get(name, grade))
    return grades

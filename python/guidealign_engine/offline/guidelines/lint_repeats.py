"""What guidelines of a library, their examples and held-out inputs may share, and must not."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from guidealign_engine.errors import ArtifactError
from guidealign_engine.offline.guidelines.doubles import plain_form
from guidealign_engine.offline.guidelines.findings import Finding
from guidealign_engine.offline.guidelines.guideline_lines import GuidelineLine
from guidealign_engine.offline.guidelines.near_duplicates import similar_pairs
from guidealign_engine.pairs import SPLITS

HELD_OUT = ("dev", "test")
_MARKS = re.compile(r"[^\w\s]+")
_NAMED = 6


@dataclass(frozen=True, slots=True)
class HeldOutInput:
    """An input of a pair file, and where it stands."""

    input: str
    ids: tuple[str, ...]
    split: str
    file: Path
    number: int


def duplicate_ids(lines: Sequence[GuidelineLine]) -> Iterator[Finding]:
    firsts = dict[str, GuidelineLine]()
    for line in lines:
        first = firsts.setdefault(line.record.id, line)
        if first is not line:
            yield Finding.at(line, "duplicate-id", f"id {line.record.id!r} was given before, in {first.place}")


def clusters_of_near_duplicates(
    lines: Sequence[GuidelineLine], ratio: float, report: Callable[[int], None] = lambda done: None
) -> Iterator[Finding]:
    """One finding for each cluster of guidelines that are linked by near-duplicates, at its first guideline."""
    parents = list(range(len(lines)))
    nearest = dict[int, float]()

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    for pairs in similar_pairs([line.record.entry for line in lines], ratio, report):
        for later, earlier, likeness in zip(
            pairs.later.tolist(), pairs.earlier.tolist(), pairs.ratios.tolist(), strict=True
        ):
            one, other = sorted((root(later), root(earlier)))
            parents[other] = one
            nearest[later] = max(likeness, nearest.get(later, 0.0))
    clusters = defaultdict[int, list[int]](list)
    for place in nearest:
        clusters[root(place)].append(place)
    for first, others in sorted(clusters.items()):
        members = sorted({*others} - {first})
        named = ", ".join(f"{lines[place].record.id} ({_share(nearest.get(place))})" for place in members[:_NAMED])
        more = f" and {len(members) - _NAMED:,} more" if len(members) > _NAMED else ""
        yield Finding.at(
            lines[first], "near-duplicate", f"{len(members) + 1:,} guidelines are alike: also {named}{more}"
        )


def repeated_examples(lines: Sequence[GuidelineLine]) -> Iterator[Finding]:
    firsts = dict[str, GuidelineLine]()
    for line in lines:
        own = set[str]()
        for example in line.record.examples:
            form = plain_form(example)
            first = firsts.setdefault(form, line)
            if form in own:
                yield Finding.at(line, "repeated-example", f"the example is there twice: {_short(example)}")
            elif first is not line:
                where = f"{first.record.id!r} ({first.place}) has it too"
                yield Finding.at(line, "shared-example", f"{where}: {_short(example)}")
            own.add(form)


def held_out_findings(lines: Sequence[GuidelineLine], inputs: Sequence[HeldOutInput]) -> Iterator[Finding]:
    """Held-out inputs that are examples too, and pairs that name unknown ids."""
    holders = dict[str, tuple[GuidelineLine, str]]()
    for line in lines:
        for example in line.record.examples:
            holders.setdefault(_bare(example), (line, example))
    ids = {line.record.id for line in lines}
    for pair in inputs:
        holder = holders.get(_bare(pair.input)) if pair.split in HELD_OUT else None
        if holder is not None:
            place = f"{pair.file}, line {pair.number}"
            yield Finding.at(holder[0], "held-out-leak", f"{place} holds out this example: {_short(holder[1])}")
        for id in pair.ids:
            if id not in ids:
                message = f"no guideline has the id {id!r}"
                yield Finding(rule="unknown-id", file=pair.file, line=pair.number, message=message)


def held_out_input(fields: Mapping[str, object], file: Path, place: str) -> HeldOutInput:
    """Raises ArtifactError where the fields are no pair."""
    input, positive, split = fields.get("input"), fields.get("positive"), fields.get("split", "train")
    if not isinstance(input, str):
        raise ArtifactError(f"{place}: {input!r:.60}; must be a string", file=file, field="input")
    if not isinstance(positive, (list, dict)) or not all(isinstance(id, str) for id in positive):
        rule = "must be a list of guideline ids, or an object that gives each id a grade"
        raise ArtifactError(f"{place}: {positive!r:.60}; {rule}", file=file, field="positive")
    if split not in SPLITS:
        raise ArtifactError(f"{place}: {split!r:.60}; allowed: {', '.join(SPLITS)}", file=file, field="split")
    return HeldOutInput(input, tuple(positive), str(split), file, int(place.rpartition(" ")[2]))


def _bare(text: str) -> str:
    """The text without case, marks and spaces, so that a copy with another full stop is one."""
    return " ".join(_MARKS.sub(" ", plain_form(text)).split()) or plain_form(text)


def _share(ratio: float | None) -> str:
    return "?" if ratio is None else f"{ratio:.2f}"


def _short(text: str, characters: int = 70) -> str:
    line = " ".join(text.split())
    return f"“{line if len(line) <= characters else line[: characters - 1] + '…'}”"

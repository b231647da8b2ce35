"""Everything that `guidealign library lint` looks at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from guidealign_engine.bundle import Bundle, open_bundle
from guidealign_engine.errors import ArtifactError
from guidealign_engine.loading import STARTER_BUNDLE
from guidealign_engine.offline.guidelines.findings import RULES, Finding, Severity
from guidealign_engine.offline.guidelines.guideline_lines import GuidelineLine, guideline_lines
from guidealign_engine.offline.guidelines.input_files import json_records
from guidealign_engine.offline.guidelines.lint_meaning import (
    MEANING_RULES,
    MeaningLimits,
    contradictions,
    reach_findings,
)
from guidealign_engine.offline.guidelines.lint_repeats import (
    HeldOutInput,
    clusters_of_near_duplicates,
    duplicate_ids,
    held_out_findings,
    held_out_input,
    repeated_examples,
)
from guidealign_engine.offline.guidelines.lint_texts import Lengths, lint_guideline
from guidealign_engine.offline.guidelines.meaning import MeaningEncoder
from guidealign_engine.offline.guidelines.near_duplicates import DEFAULT_RATIO
from guidealign_engine.offline.guidelines.reach import measure_reach

Report = Callable[[str], None]
_LINE = re.compile(r": line (\d+):? (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class LintOptions:
    """Where the rules begin to find something."""

    rules: frozenset[str] = frozenset(RULES)
    lengths: Lengths = field(default_factory=Lengths)
    ratio: float = DEFAULT_RATIO
    """Indel ratio of near-duplicates"""
    meaning: MeaningLimits = field(default_factory=MeaningLimits)


@dataclass(frozen=True, slots=True)
class Linted:
    """What was found, by file and line, errors first where a line has both."""

    guidelines: int
    findings: tuple[Finding, ...]

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)


def lint_library(
    paths: Sequence[Path],
    options: LintOptions,
    *,
    pairs: Sequence[Path] = (),
    inputs: Sequence[str] = (),
    bundle: Path | None = None,
    report: Report = lambda line: None,
) -> Linted:
    """Reads the guidelines of the files or folders and looks at them by the rules that are on.

    pairs: files or folders of held-out inputs. inputs: what users ask, to see which guidelines it finds.
    bundle: whose encoder is used; None for the starter's. Raises ArtifactError for a file that cannot be read.
    """
    report("  reading")
    findings = list[Finding]()
    lines = list[GuidelineLine]()
    for line in guideline_lines(paths):
        if isinstance(line, ArtifactError):
            findings.append(_bad_record(line))
        else:
            lines.append(line)
    held_out = list(_held_out(pairs, findings))
    findings += (found for line in lines for found in lint_guideline(line, options.lengths))
    findings += duplicate_ids(lines)
    findings += repeated_examples(lines)
    findings += held_out_findings(lines, held_out)
    if "near-duplicate" in options.rules:
        findings += clusters_of_near_duplicates(
            lines, options.ratio, lambda done: report(f"  {done:,} of {len(lines):,} compared with each other")
        )
    if lines and options.rules & MEANING_RULES:
        asked = [*inputs, *(pair.input for pair in held_out)]
        findings += _by_meaning(
            lines, asked, open_bundle(STARTER_BUNDLE if bundle is None else bundle), options, report
        )
    kept = [finding for finding in findings if finding.rule in options.rules]
    kept.sort(key=lambda finding: (str(finding.file), finding.line, finding.severity, finding.rule))
    return Linted(len(lines), tuple(kept))


def _by_meaning(
    lines: Sequence[GuidelineLine], inputs: Sequence[str], bundle: Bundle, options: LintOptions, report: Report
) -> Iterator[Finding]:
    encoder, limits = MeaningEncoder(bundle), options.meaning
    if "contradiction" in options.rules:
        yield from contradictions(lines, encoder, limits.likeness)
    if options.rules & {"unreached", "hub"}:
        records = [line.record for line in lines]
        most = limits.most_examples
        reach = measure_reach(records, inputs, bundle, encoder, k=limits.k, most=most, report=report)
        yield from reach_findings(lines, reach, limits)


def _held_out(paths: Sequence[Path], findings: list[Finding]) -> Iterator[HeldOutInput]:
    for path in paths:
        for file in sorted(path.glob("*.jsonl")) if path.is_dir() else [path]:
            for record in json_records(file):
                try:
                    if isinstance(record, ArtifactError):
                        raise record
                    yield held_out_input(record.fields, file, record.place)
                except ArtifactError as error:
                    findings.append(_bad_record(error))


def _bad_record(error: ArtifactError) -> Finding:
    """The error as a finding; its line stands in its message."""
    found = _LINE.search(str(error))
    line, message = (int(found[1]), found[2]) if found else (0, str(error))
    named = f"field {error.field}: {message}" if error.field else message
    return Finding(rule="bad-record", file=error.file, line=line, message=named)

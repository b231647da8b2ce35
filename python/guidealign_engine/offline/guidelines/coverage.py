"""Which risks of a taxonomy a library covers, by a map that people wrote."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from guidealign_engine.errors import ArtifactError
from guidealign_engine.json_lines import read_objects, wrong_field

_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CoveredRisk:
    """A risk of a taxonomy and the ids of the guidelines that fit it; none for a risk that is not covered."""

    taxonomy: str
    risk: str
    title: str
    guidelines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxonomyCoverage:
    """How much of one taxonomy is covered."""

    taxonomy: str
    risks: int
    uncovered: tuple[CoveredRisk, ...]

    @property
    def covered(self) -> int:
        return self.risks - len(self.uncovered)

    @property
    def share(self) -> float:
        return round(self.covered / self.risks, 4)

    def as_dict(self) -> dict[str, Any]:
        uncovered = [{"risk": risk.risk, "title": risk.title} for risk in self.uncovered]
        return {"risks": self.risks, "covered": self.covered, "share": self.share, "uncovered": uncovered}


def measure_coverage(risks: Sequence[CoveredRisk]) -> list[TaxonomyCoverage]:
    """Coverage by taxonomy, in the order in which the map names them."""
    taxonomies: dict[str, list[CoveredRisk]] = {}
    for risk in risks:
        taxonomies.setdefault(risk.taxonomy, []).append(risk)
    return [
        TaxonomyCoverage(
            taxonomy=taxonomy,
            risks=len(group),
            uncovered=tuple(risk for risk in group if not risk.guidelines),
        )
        for taxonomy, group in taxonomies.items()
    ]


def read_coverage(file: Path, known_ids: Collection[str]) -> list[CoveredRisk]:
    """The risks of a map: JSON lines with taxonomy, risk, title and guidelines.

    Raises ArtifactError naming line and field of a record that is none, of a risk that comes twice, and of ids that no
    guideline has.
    """
    risks: list[CoveredRisk] = []
    lines: dict[tuple[str, str], int] = {}
    unknown: list[tuple[int, str]] = []
    for number, fields in read_objects(file):
        risk = _risk(fields, file, number)
        key = (risk.taxonomy, risk.risk)
        if key in lines:
            raise ArtifactError(
                f"line {number}: {risk.risk!r} of {risk.taxonomy!r} was given before, in line {lines[key]}",
                file=file,
                field="risk",
            )
        lines[key] = number
        unknown += [(number, id) for id in risk.guidelines if id not in known_ids]
        risks.append(risk)
    if unknown:
        raise ArtifactError(_unknown_ids(unknown, known_ids), file=file, field="guidelines")
    if not risks:
        raise ArtifactError("there are no risks in it", file=file)
    return risks


def _risk(fields: dict[str, Any], file: Path, number: int) -> CoveredRisk:
    for name in ("taxonomy", "risk", "title"):
        value = fields.get(name)
        if not isinstance(value, str) or not value.strip():
            raise wrong_field(fields, name, "a string that is not blank", file=file, number=number)
    ids = fields.get("guidelines")
    if not isinstance(ids, list) or not all(isinstance(id, str) for id in ids):
        rule = "a list of guideline ids, empty for a risk without any"
        raise wrong_field(fields, "guidelines", rule, file=file, number=number)
    return CoveredRisk(
        taxonomy=fields["taxonomy"], risk=fields["risk"], title=fields["title"], guidelines=tuple(dict.fromkeys(ids))
    )


def _unknown_ids(unknown: Sequence[tuple[int, str]], known_ids: Collection[str]) -> str:
    """One sentence for the first few ids, each with its line and the id that was probably meant."""
    named = ", ".join(f"line {number}: {_unknown_id(id, known_ids)}" for number, id in unknown[:_SHOWN])
    return named + (f", and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else "")


def _unknown_id(id: str, known_ids: Collection[str]) -> str:
    near = get_close_matches(id, known_ids, n=1)
    return f"no guideline has the id {id!r}" + (f" (did you mean {near[0]!r}?)" if near else "")

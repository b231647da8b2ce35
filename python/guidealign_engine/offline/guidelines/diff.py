"""What changed between two libraries, guideline by guideline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from guidealign_engine.library import GuidelineRecord

_PLACE_FIELDS = ("kind", "category")
_FIELDS = (*_PLACE_FIELDS, "title", "text", "examples", "tags", "priority", "source")


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field of a guideline that stayed, as it was and as it is."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class GuidelineChange:
    """A guideline that is in both libraries, and in what it differs."""

    id: str
    fields: tuple[FieldChange, ...]

    @property
    def moved(self) -> tuple[FieldChange, ...]:
        """Its change of kind or category."""
        return tuple(change for change in self.fields if change.field in _PLACE_FIELDS)

    @property
    def edited(self) -> tuple[FieldChange, ...]:
        """All other changes."""
        return tuple(change for change in self.fields if change.field not in _PLACE_FIELDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryDiff:
    """All that differs between library A and library B. Guidelines are the same by their id alone."""

    added: tuple[GuidelineRecord, ...]
    """in B only, in the order of B"""
    removed: tuple[GuidelineRecord, ...]
    """in A only, in the order of A"""
    changes: tuple[GuidelineChange, ...]
    """in both and not equal, in the order of B"""
    unchanged: int
    reordered: bool
    """those in both stand in another order, which is the order that a prompt lists them in"""

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.removed or self.changes or self.reordered)

    def as_dict(self) -> dict[str, Any]:
        return {
            "unchanged": self.unchanged,
            "reordered": self.reordered,
            "added": [asdict(record) for record in self.added],
            "removed": [asdict(record) for record in self.removed],
            "changed": [_named(change.id, change.edited) for change in self.changes if change.edited],
            "moved": [_named(change.id, change.moved) for change in self.changes if change.moved],
        }


def diff_libraries(before: Sequence[GuidelineRecord], after: Sequence[GuidelineRecord]) -> LibraryDiff:
    """Compares two libraries by id and field."""
    old = {record.id: record for record in before}
    new = {record.id: record for record in after}
    kept = [id for id in new if id in old]
    changes = [GuidelineChange(id, _field_changes(old[id], new[id])) for id in kept]
    changed = tuple(change for change in changes if change.fields)
    return LibraryDiff(
        added=tuple(record for id, record in new.items() if id not in old),
        removed=tuple(record for id, record in old.items() if id not in new),
        changes=changed,
        unchanged=len(kept) - len(changed),
        reordered=kept != [id for id in old if id in new],
    )


def _field_changes(before: GuidelineRecord, after: GuidelineRecord) -> tuple[FieldChange, ...]:
    values = ((field, getattr(before, field), getattr(after, field)) for field in _FIELDS)
    return tuple(FieldChange(field, old, new) for field, old, new in values if old != new)


def _named(id: str, changes: Sequence[FieldChange]) -> dict[str, Any]:
    return {"id": id, "fields": {change.field: {"before": change.before, "after": change.after} for change in changes}}

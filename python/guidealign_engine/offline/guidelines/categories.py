"""A library by kind and category."""

from __future__ import annotations

from collections.abc import Sequence

from guidealign_engine.config import Kind
from guidealign_engine.library import GuidelineRecord

_KINDS = [str(kind) for kind in Kind]


def by_category(records: Sequence[GuidelineRecord]) -> dict[tuple[str, str], list[GuidelineRecord]]:
    """(kind, category) → guidelines, kind by kind, the largest category first."""
    members: dict[tuple[str, str], list[GuidelineRecord]] = {}
    for record in records:
        members.setdefault((record.kind, record.category), []).append(record)
    return dict(sorted(members.items(), key=lambda item: (_KINDS.index(item[0][0]), -len(item[1]), item[0][1])))

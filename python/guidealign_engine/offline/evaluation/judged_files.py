"""A judged set in three files of JSON lines: a library, queries, and judgements."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from guidealign_engine.config import Kind
from guidealign_engine.errors import ArtifactError
from guidealign_engine.json_lines import read_objects, wrong_field
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.offline.evaluation.judged import JudgedLibrary, JudgedQueries, positions_of


def read_judged_set(name: str, library: Path, queries: Path, judgements: Path) -> JudgedLibrary:
    """library: id, text and, if there is one, title; queries: id, text; judgements: query_id, guideline_id, relevance.

    Relevance is a whole number, 1 where it is left out; 0 says that a guideline does not fit. Queries for which
    nothing fits measure nothing in a ranking and are left out.
    Raises ArtifactError naming file, line and field of what cannot be read, of an id that comes twice, and of a
    judgement that names an id which its file lacks.
    """
    records = read_records(library)
    texts = read_texts(queries)
    positions = positions_of(records)
    relevance: dict[str, dict[int, int]] = {}
    for (query, guideline), grade in _judgements(judgements, [(queries, texts), (library, positions)]).items():
        if grade:
            relevance.setdefault(query, {})[positions[guideline]] = grade
    if not relevance:
        raise ArtifactError("no query has a relevant guideline, so there is nothing to measure", file=judgements)
    judged = [id for id in texts if id in relevance]
    asked = JudgedQueries(name, tuple(texts[id] for id in judged), tuple(relevance[id] for id in judged))
    return JudgedLibrary(tuple(records), (asked,))


def _judgements(file: Path, known: Sequence[tuple[Path, Collection[str]]]) -> dict[tuple[str, str], int]:
    """Relevance by query and guideline; known: the queries' file and its ids, then the library's."""
    judgements: dict[tuple[str, str], int] = {}
    for number, fields in read_objects(file):
        query, guideline, grade = _judgement(fields, file, number)
        for field, id, (place, ids) in zip(("query_id", "guideline_id"), (query, guideline), known, strict=True):
            if id not in ids:
                raise ArtifactError(f"line {number}: no record of {place} has the id {id!r}", file=file, field=field)
        before = judgements.setdefault((query, guideline), grade)
        if before != grade:
            raise ArtifactError(
                f"line {number}: {guideline!r} has relevance {grade} for {query!r}, and {before} in a line before",
                file=file,
                field="relevance",
            )
    return judgements


def read_records(file: Path) -> list[GuidelineRecord]:
    """Texts as guidelines of a library of their own, without examples. Raises what `read_judged_set` raises."""
    records = []
    for id, fields in read_identified(file).items():
        title, category = fields.get("title", ""), fields.get("category", "")
        if not isinstance(title, str) or not isinstance(category, str):
            raise ArtifactError(f"record {id!r}: title and category must be strings", file=file)
        # No threshold is used, so the kind has no part in any figure.
        records.append(
            GuidelineRecord(id=id, kind=Kind.SAFETY, category=category, title=title.strip(), text=fields["text"])
        )
    if not records:
        raise ArtifactError("there are no records in it", file=file)
    return records


def read_texts(file: Path) -> dict[str, str]:
    """Text by id."""
    return {id: fields["text"] for id, fields in read_identified(file).items()}


def read_identified(file: Path) -> dict[str, dict[str, Any]]:
    """Records with a text, by id. Raises ArtifactError for a record without either, and for an id that comes twice."""
    lines: dict[str, int] = {}
    records: dict[str, dict[str, Any]] = {}
    for number, fields in read_objects(file):
        for name in ("id", "text"):
            if not isinstance(fields.get(name), str) or not fields[name].strip():
                raise wrong_field(fields, name, "a string that is not blank", file=file, number=number)
        id = fields["id"]
        if id in records:
            raise ArtifactError(
                f"line {number}: id {id!r} was given before, in line {lines[id]}", file=file, field="id"
            )
        lines[id], records[id] = number, fields
    return records


def _judgement(fields: dict[str, Any], file: Path, number: int) -> tuple[str, str, int]:
    for name in ("query_id", "guideline_id"):
        if not isinstance(fields.get(name), str):
            raise wrong_field(fields, name, "the id of a record", file=file, number=number)
    relevance = fields.get("relevance", 1)
    if type(relevance) is not int or relevance < 0:
        raise wrong_field(fields, "relevance", "a whole number from 0", file=file, number=number)
    return fields["query_id"], fields["guideline_id"], relevance

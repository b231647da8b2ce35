"""Judged sets of a folder, found by which file holds which ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from guidealign_engine.config import Kind
from guidealign_engine.errors import ArtifactError, ConfigError
from guidealign_engine.json_lines import read_objects
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.offline.evaluation.judged import JudgedLibrary, JudgedQueries
from guidealign_engine.offline.evaluation.judged_files import read_identified, read_judged_set, read_records

_LIBRARIES = ("guidelines", "retrieval")
_QUERIES = ("prompts", "retrieval")
_NO_INTENT = "oos"
_INDEXED_PER_INTENT = 20


def read_judged(given: str) -> list[JudgedLibrary]:
    """What `--judged` names: NAME=LIBRARY,QUERIES,JUDGEMENTS (three files), or a folder of sets.

    Raises ConfigError for anything else, and what `read_judged_set` and `find_judged` raise.
    """
    folder = Path(given)
    if folder.is_dir():
        return find_judged(folder)
    name, equals, files = given.partition("=")
    paths = [Path(part) for part in files.split(",")]
    if not equals or not name or len(paths) != 3:
        raise ConfigError(
            f"--judged is {given!r}; give a folder that exists, or NAME=LIBRARY.jsonl,QUERIES.jsonl,JUDGEMENTS.jsonl"
        )
    return [read_judged_set(name, *paths)]


def find_judged(folder: Path) -> list[JudgedLibrary]:
    """Every file of `judgements/` is a set. Its library is the file of `guidelines/` or `retrieval/` that holds most
    of the guideline ids it names, its queries are the file of `prompts/` or `retrieval/` that holds most query ids.

    An intent set without judgements, `retrieval/NAME.jsonl` beside `retrieval/NAME_intents.jsonl`, is judged by its
    categories, for ids that say their part: utterances of the test part are asked; relevant is the intent whose title
    is the utterance's category. In a second set, NAME_train, the first 20 utterances of each category of the train part
    are the library, and those of the same category are relevant.

    Raises ArtifactError where a file is missing or holds none of the ids.
    """
    ids = {
        part: {file: _ids(file, ("id",))["id"] for file in sorted((folder / part).glob("*.jsonl"))}
        for part in ("guidelines", "prompts", "retrieval")
    }
    sets = []
    for judgements in sorted((folder / "judgements").glob("*.jsonl")):
        named = _ids(judgements, ("query_id", "guideline_id"))
        library = _holder(named["guideline_id"], _files(ids, _LIBRARIES), judgements, "guideline_id")
        queries = _holder(named["query_id"], _files(ids, _QUERIES), judgements, "query_id")
        sets.append(read_judged_set(judgements.stem, library, queries, judgements))
    for utterances in ids["retrieval"]:
        intents = utterances.with_name(f"{utterances.stem}_intents.jsonl")
        if intents in ids["retrieval"] and not (folder / "judgements" / utterances.name).is_file():
            sets += _intent_sets(utterances, intents)
    if not sets:
        raise ArtifactError(
            "there is no judged set in it; it needs judgements/NAME.jsonl beside guidelines/, prompts/ or retrieval/",
            file=folder,
        )
    return sets


def _ids(file: Path, names: tuple[str, ...]) -> dict[str, set[str]]:
    """All values of the fields; a record without one is told of when the set is read."""
    found: dict[str, set[str]] = {name: set() for name in names}
    for _, fields in read_objects(file):
        for name in names:
            found[name].add(str(fields.get(name)))
    return found


def _files(ids: Mapping[str, Mapping[Path, set[str]]], parts: tuple[str, ...]) -> dict[Path, set[str]]:
    return {file: held for part in parts for file, held in ids[part].items()}


def _holder(wanted: set[str], files: Mapping[Path, set[str]], judgements: Path, field: str) -> Path:
    file = max(files, key=lambda file: len(wanted & files[file]), default=None)
    if file is None or not wanted & files[file]:
        raise ArtifactError(f"no file beside it holds any of its {len(wanted)} ids", file=judgements, field=field)
    return file


def _intent_sets(utterances: Path, intents: Path) -> Iterator[JudgedLibrary]:
    asked, trained = _part(utterances, "test"), _part(utterances, "train")
    if not asked:
        raise ArtifactError("no id holds -test-, so nothing is asked", file=utterances, field="id")
    yield _judged_by_title(utterances, asked, intents)
    if trained:
        yield _judged_by_category(utterances.stem, asked, trained)


def _part(utterances: Path, part: str) -> list[GuidelineRecord]:
    """The utterances of a part, without those that have no intent."""
    return [
        GuidelineRecord(id=id, kind=Kind.SAFETY, category=str(fields.get("category")), title="", text=fields["text"])
        for id, fields in read_identified(utterances).items()
        if f"-{part}-" in id and fields.get("category") != _NO_INTENT
    ]


def _judged_by_title(utterances: Path, asked: Sequence[GuidelineRecord], intents: Path) -> JudgedLibrary:
    records = read_records(intents)
    of_title = {record.title.replace("_", " "): {row: 1} for row, record in enumerate(records)}
    for utterance in asked:
        if utterance.category.replace("_", " ") not in of_title:
            raise ArtifactError(
                f"record {utterance.id!r}: no intent of {intents} has the title {utterance.category!r}",
                file=utterances,
                field="category",
            )
    relevance = tuple(of_title[utterance.category.replace("_", " ")] for utterance in asked)
    queries = JudgedQueries(utterances.stem, tuple(utterance.text for utterance in asked), relevance)
    return JudgedLibrary(tuple(records), (queries,))


def _judged_by_category(
    name: str, asked: Sequence[GuidelineRecord], trained: Sequence[GuidelineRecord]
) -> JudgedLibrary:
    rows: dict[str, dict[int, int]] = {}
    indexed: list[GuidelineRecord] = []
    for utterance in trained:
        same = rows.setdefault(utterance.category, {})
        if len(same) < _INDEXED_PER_INTENT:
            same[len(indexed)] = 1
            indexed.append(utterance)
    known = [utterance for utterance in asked if utterance.category in rows]
    relevance = tuple(rows[utterance.category] for utterance in known)
    queries = JudgedQueries(f"{name}_train", tuple(utterance.text for utterance in known), relevance)
    return JudgedLibrary(tuple(indexed), (queries,))

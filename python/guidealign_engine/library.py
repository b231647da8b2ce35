"""The guidelines of a bundle, as columns for the kernels and as records for people."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidealign_engine import _native
from guidealign_engine.bundle import COLUMNS, GUIDELINES, VECTORS, Bundle
from guidealign_engine.config import Kind
from guidealign_engine.errors import ArtifactError, ConfigError

KINDS = tuple(Kind)
_RECORDS_KEPT = 1 << 16
_BYTES_AT_ONCE = 1 << 22
_NO_SCALES = np.empty(0, dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidelineRecord:
    """One guideline as its author wrote it."""

    id: str
    kind: str
    category: str
    title: str
    text: str
    examples: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    priority: float = 0.0
    source: str = ""

    @property
    def entry(self) -> str:
        """The guideline as it stands in a prompt, on one line."""
        return " ".join(f"{self.title}: {self.text}".split())


@dataclass(frozen=True, slots=True)
class Symbols:
    """Guideline texts as small numbers, one a character, for comparing them."""

    values: NDArray[Any]
    """uint8 or uint16, all texts end to end"""
    offsets: NDArray[np.int64]
    alphabet_size: int


@dataclass(frozen=True, slots=True)
class Library:
    """Columns over all guidelines. Vectors of one guideline lie side by side, the one of its text first."""

    vectors: NDArray[Any]
    """float16 or int8 (vectors, dimension)"""
    scales: NDArray[np.float32]
    """(vectors) for int8, empty for float16"""
    owners: NDArray[np.int32]
    """(vectors) the guideline of each"""
    vector_offsets: NDArray[np.int64]
    """(guidelines + 1)"""
    priority: NDArray[np.float32]
    kinds: NDArray[np.uint8]
    entry_bytes: NDArray[np.uint8]
    """UTF-8 of `GuidelineRecord.entry`, end to end"""
    entry_offsets: NDArray[np.int64]
    symbols: Symbols
    native: _native.Library
    """The columns as the kernels read them, checked once"""
    tag_names: tuple[str, ...]
    tag_ids: NDArray[np.int32]
    tag_offsets: NDArray[np.int64]
    record: Callable[[int], GuidelineRecord] = field(repr=False)
    """Reads one guideline by its position; the last 65,536 are kept."""

    def __len__(self) -> int:
        return len(self.kinds)

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Library:
        """Maps the columns of a verified bundle. Raises ArtifactError where they do not fit each other."""
        columns = bundle.arrays(COLUMNS)
        stored = bundle.arrays(VECTORS)
        _check_columns(bundle, columns, stored)
        owners = columns["owners"]
        try:
            native, vector_offsets, symbols = native_library(stored, owners, columns)
            _check_text_starts(bundle, columns["entry_bytes"], columns["entry_offsets"])
        except UnicodeDecodeError as error:
            file = bundle.folder / COLUMNS
            raise ArtifactError(f"the texts are not UTF-8: {error}", file=file, field="entry_bytes") from error
        scales = stored.get("scales", _NO_SCALES)
        # All columns were read to check them; requests read few of their pages, and vectors from all over.
        bundle.let_go(COLUMNS)
        bundle.make_resident(VECTORS)
        return cls(
            vectors=stored["vectors"],
            scales=scales,
            owners=owners,
            vector_offsets=vector_offsets,
            priority=columns["priority"],
            kinds=columns["kinds"],
            entry_bytes=columns["entry_bytes"],
            entry_offsets=columns["entry_offsets"],
            symbols=symbols,
            native=native,
            tag_names=bundle.manifest.tags,
            tag_ids=columns["tag_ids"],
            tag_offsets=columns["tag_offsets"],
            record=_record_reader(bundle, columns["line_offsets"]),
        )

    def allowed(self, kinds: frozenset[Kind] | None, tags: frozenset[str] | None) -> NDArray[np.uint8]:
        """1 for guidelines of one of the kinds that have one of the tags, uint8 (guidelines); None filters nothing.

        Raises ConfigError for a tag that no guideline has.
        """
        allowed = np.ones(len(self), dtype=np.uint8)
        if kinds is not None:
            codes = [KINDS.index(kind) for kind in kinds]
            allowed &= np.isin(self.kinds, codes).astype(np.uint8)
        if tags is not None:
            wanted = [self._tag_id(tag) for tag in tags]
            has_tag = np.zeros(len(self), dtype=np.uint8)
            places = np.flatnonzero(np.isin(self.tag_ids, wanted))
            has_tag[np.searchsorted(self.tag_offsets, places, side="right") - 1] = 1
            allowed &= has_tag
        return allowed

    def _tag_id(self, tag: str) -> int:
        try:
            return self.tag_names.index(tag)
        except ValueError:
            near = difflib.get_close_matches(str(tag), self.tag_names, n=3)
            hint = f"; did you mean {', '.join(near)}?" if near else f"; the library has {len(self.tag_names)} tags"
            raise ConfigError(f"tags holds {tag!r}, which no guideline has{hint}") from None

    def matched_text(self, guideline: int, vector: int) -> str:
        """The text behind a stored vector: the guideline's own, or one of its examples."""
        place = vector - int(self.vector_offsets[guideline])
        record = self.record(guideline)
        return record.entry if place == 0 else record.examples[place - 1]


def native_library(
    stored: Mapping[str, NDArray[Any]], owners: NDArray[np.int32], columns: Mapping[str, NDArray[Any]]
) -> tuple[_native.Library, NDArray[np.int64], Symbols]:
    """The columns as the kernels read them, the offsets of each guideline's vectors, and the texts as symbols."""
    vector_offsets = np.zeros(len(columns["kinds"]) + 1, dtype=np.int64)
    np.cumsum(np.bincount(owners, minlength=len(columns["kinds"])), out=vector_offsets[1:])
    symbols = symbols_of(columns["entry_bytes"], columns["entry_offsets"])
    native = _native.Library(
        vectors=stored["vectors"],
        scales=stored.get("scales", _NO_SCALES),
        owners=owners,
        vector_offsets=vector_offsets,
        priority=columns["priority"],
        kinds=columns["kinds"],
        symbols=symbols.values,
        symbol_offsets=symbols.offsets,
        alphabet_size=symbols.alphabet_size,
    )
    return native, vector_offsets, symbols


def symbols_of(entry_bytes: NDArray[np.uint8], entry_offsets: NDArray[np.int64]) -> Symbols:
    """ASCII texts are their own symbols, without a copy; other alphabets are numbered by code point."""
    if not len(entry_bytes) or entry_bytes.max() < 128:
        return Symbols(entry_bytes, entry_offsets, 128)
    ascii_used, parts = np.zeros(128, dtype=np.int64), _parts(entry_bytes, entry_offsets)
    for part in parts:
        entry_bytes[part].tobytes().decode("utf-8")
        ascii_used += np.bincount(entry_bytes[part], minlength=256)[:128]
    # Characters that are not ASCII are few in most libraries, and made of bytes that no others have.
    high = np.flatnonzero(entry_bytes >= 128)
    others = np.frombuffer(entry_bytes[high].tobytes().decode("utf-8").encode("utf-32-le"), dtype=np.uint32)
    alphabet = np.concatenate([np.flatnonzero(ascii_used), np.unique(others)])
    numbers = np.zeros(256, dtype=np.uint8 if len(alphabet) <= 256 else np.uint16)
    numbers[np.flatnonzero(ascii_used)] = np.arange(np.count_nonzero(ascii_used))
    symbols = np.empty(len(entry_bytes), dtype=numbers.dtype)
    for part in parts:
        symbols[part] = numbers[entry_bytes[part]]
    # Every byte that does not continue a character starts one.
    continues = (entry_bytes[high] & 0xC0) == 0x80
    continuing, starts = high[continues], high[~continues]
    symbols = np.delete(symbols, continuing)
    symbols[starts - np.searchsorted(continuing, starts)] = np.searchsorted(alphabet, others)
    return Symbols(symbols, entry_offsets - np.searchsorted(continuing, entry_offsets), len(alphabet))


def _parts(entry_bytes: NDArray[np.uint8], entry_offsets: NDArray[np.int64]) -> list[slice]:
    """Bytes of whole texts, some megabytes at a time."""
    cuts = np.searchsorted(entry_offsets, np.arange(0, len(entry_bytes), _BYTES_AT_ONCE))
    return [slice(*part) for part in pairwise([*np.unique(entry_offsets[cuts]).tolist(), len(entry_bytes)])]


def columns_of(records: Sequence[GuidelineRecord]) -> tuple[bytes, dict[str, NDArray[Any]], tuple[str, ...]]:
    """guidelines.jsonl, the columns derived from it, and the names of the tags; owners come with the vectors."""
    lines = [(json.dumps(_as_line(record), ensure_ascii=False) + "\n").encode() for record in records]
    entries = [record.entry.encode() for record in records]
    tag_names = tuple(sorted({tag for record in records for tag in record.tags}))
    tag_numbers = {tag: number for number, tag in enumerate(tag_names)}
    tags = [sorted({tag_numbers[tag] for tag in record.tags}) for record in records]
    columns: dict[str, NDArray[Any]] = {
        "line_offsets": _offsets([len(line) for line in lines]),
        "entry_bytes": np.frombuffer(b"".join(entries), dtype=np.uint8),
        "entry_offsets": _offsets([len(entry) for entry in entries]),
        "kinds": np.array([KINDS.index(Kind(record.kind)) for record in records], dtype=np.uint8),
        "priority": np.array([record.priority for record in records], dtype=np.float32),
        "tag_ids": np.array([tag for row in tags for tag in row], dtype=np.int32),
        "tag_offsets": _offsets([len(row) for row in tags]),
    }
    return b"".join(lines), columns, tag_names


def _as_line(record: GuidelineRecord) -> dict[str, Any]:
    fields = {name: getattr(record, name) for name in GuidelineRecord.__dataclass_fields__}
    return {**fields, "examples": list(record.examples), "tags": list(record.tags)}


def _offsets(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def _record_reader(bundle: Bundle, line_offsets: NDArray[np.int64]) -> Callable[[int], GuidelineRecord]:
    lines = bundle.maps[GUIDELINES]

    @lru_cache(maxsize=_RECORDS_KEPT)
    def record(position: int) -> GuidelineRecord:
        try:
            fields = json.loads(lines[line_offsets[position] : line_offsets[position + 1]])
            return GuidelineRecord(**{**fields, "examples": tuple(fields["examples"]), "tags": tuple(fields["tags"])})
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            file = bundle.folder / GUIDELINES
            raise ArtifactError(f"line {position + 1} is no guideline: {error!r}", file=file) from error

    return record


def _check_text_starts(bundle: Bundle, entry_bytes: NDArray[np.uint8], entry_offsets: NDArray[np.int64]) -> None:
    starts = entry_offsets[entry_offsets < len(entry_bytes)]
    if ((entry_bytes[starts] & 0xC0) == 0x80).any():
        file = bundle.folder / COLUMNS
        raise ArtifactError("a text begins inside a character", file=file, field="entry_offsets")


def _check_columns(bundle: Bundle, columns: dict[str, NDArray[Any]], stored: dict[str, NDArray[Any]]) -> None:
    manifest = bundle.manifest
    count = manifest.guidelines

    def require(holds: bool, part: str, name: str, rule: str) -> None:
        if not holds:
            raise ArtifactError(rule, file=bundle.folder / part, field=name)

    shapes = {
        "line_offsets": (np.int64, count + 1),
        "entry_offsets": (np.int64, count + 1),
        "tag_offsets": (np.int64, count + 1),
        "kinds": (np.uint8, count),
        "priority": (np.float32, count),
        "owners": (np.int32, manifest.vectors),
        "entry_bytes": (np.uint8, None),
        "tag_ids": (np.int32, None),
    }
    for name, (dtype, length) in shapes.items():
        require(name in columns, COLUMNS, name, "the column is missing")
        column = columns[name]
        require(column.dtype == dtype and column.ndim == 1, COLUMNS, name, f"must be a {np.dtype(dtype)} column")
        require(length in (None, len(column)), COLUMNS, name, f"has {len(column)} rows; it must have {length}")
    ends = {
        "line_offsets": len(bundle.maps[GUIDELINES]),
        "entry_offsets": len(columns["entry_bytes"]),
        "tag_offsets": len(columns["tag_ids"]),
    }
    for name, end in ends.items():
        offsets = columns[name]
        rises = offsets[0] == 0 and offsets[-1] == end and bool(np.all(np.diff(offsets) >= 0))
        require(rises, COLUMNS, name, f"must rise from 0 to {end}")
    owners = columns["owners"]
    every_guideline_once = len(owners) > 0 and owners[0] == 0 and owners[-1] == count - 1
    require(
        every_guideline_once and bool(np.all((np.diff(owners) == 0) | (np.diff(owners) == 1))),
        COLUMNS,
        "owners",
        "must name every guideline, in order",
    )
    require(bool(np.all(columns["kinds"] < len(KINDS))), COLUMNS, "kinds", f"must be below {len(KINDS)}")
    require(bool(np.all(np.isfinite(columns["priority"]))), COLUMNS, "priority", "must be finite")
    require("vectors" in stored, VECTORS, "vectors", "the array is missing")
    vectors = stored["vectors"]
    require(vectors.dtype in (np.float16, np.int8), VECTORS, "vectors", "must be float16 or int8")
    expected = (manifest.vectors, manifest.encoder.dimension)
    require(vectors.shape == expected, VECTORS, "vectors", f"has shape {vectors.shape}, the manifest says {expected}")
    if vectors.dtype == np.int8:
        scales = stored.get("scales", np.empty(0, dtype=np.float32))
        require(scales.shape == (len(vectors),) and scales.dtype == np.float32, VECTORS, "scales", "must fit vectors")

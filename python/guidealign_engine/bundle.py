"""The bundle: a folder with all that an engine needs, verified before a byte of it is parsed."""

from __future__ import annotations

import ctypes
import hashlib
import json
import mmap
import os
import shutil
import struct
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.config import RiskModel, Thresholds
from guidealign_engine.errors import ArtifactError

FORMAT = 1
MANIFEST = "manifest.json"
GUIDELINES = "guidelines.jsonl"
COLUMNS = "library.safetensors"
VECTORS = "vectors.safetensors"
TOKENIZER = "tokenizer.json"
TOKENS = "tokens.safetensors"
ENCODER = "encoder.onnx"
INDEX = "index.faiss"
PROJECTION = "projection.safetensors"
REQUIRED = (GUIDELINES, COLUMNS, VECTORS, TOKENIZER, ENCODER, INDEX)

_MAX_MANIFEST_BYTES = 16 << 20
# Of Linux from 5.14 on; Python has no name for it yet.
_MADV_POPULATE_READ = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderInfo:
    """Which encoder the vectors fit to."""

    id: str
    dimension: int
    vocabulary: int
    max_tokens: int = 512
    teacher: str | None = None
    bigrams: int = 0
    """Pairs of tokens that have a vector of their own, with ids from `vocabulary` on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexChoice:
    """An index that was tried: what it is, what it finds, and what it costs."""

    kind: str
    code_bytes: int
    """Bytes a vector takes in it, without its id and links."""
    pool: int | None = None
    """Candidates that it proposes at least; None for as many as it is asked for."""
    nprobe: int | None
    """Lists that are read; for HNSW, efSearch; None where there is nothing to choose."""
    recall: float
    """Of the six guidelines that are shown after exact search, near-duplicates out, the share that is shown."""
    microseconds: float
    """Median of single queries, one thread; with the exact rerank where that depends on the choice."""
    index_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexInfo:
    """How the index searches, and what that cost in recall when it was built."""

    kind: str
    nprobe: int | None = None
    recall: float | None = None
    code_bytes: int | None = None
    pool: int | None = None
    """Candidates that are proposed at least; None for as many as are asked for."""
    target: float | None = None
    """The recall that was asked for."""
    queries: int | None = None
    """How many queries it was tuned on."""
    choices: tuple[IndexChoice, ...] = ()
    """All that were tried; none in bundles of early versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a bundle says about itself. `parts` maps each file to its size and SHA-256."""

    name: str
    created_by: str
    guidelines: int
    vectors: int
    vectors_by: str
    encoder: EncoderInfo
    index: IndexInfo
    tags: tuple[str, ...] = ()
    thresholds: Thresholds | None = None
    risk: RiskModel | None = None
    quality: Mapping[str, float] = field(default_factory=dict)
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Bundle:
    """An open, verified bundle. Its parts stay mapped while it is used, also after another one took its place."""

    folder: Path
    manifest: Manifest
    maps: Mapping[str, mmap.mmap]

    def read(self, part: str) -> bytes:
        """A copy of a part, whose own pages are given back."""
        content = self.maps[part][:]
        self.let_go(part)
        return content

    def let_go(self, part: str) -> None:
        """Gives the memory of a part's pages back to the system; they are mapped again when they are read again."""
        self.maps[part].madvise(mmap.MADV_DONTNEED)

    def make_resident(self, part: str) -> None:
        """Maps all pages of a part now, where the system can, so that no request waits for them."""
        with suppress(OSError):
            self.maps[part].madvise(_MADV_POPULATE_READ)

    def arrays(self, part: str) -> dict[str, NDArray[Any]]:
        """The arrays of a safetensors part, mapped and read-only."""
        return map_safetensors(self.maps[part], self.folder / part)


def open_bundle(folder: Path) -> Bundle:
    """Verifies the size and hash of every part and returns them mapped.

    Raises ArtifactError naming the file and the field for whatever is missing, changed or of another format.
    """
    while True:
        place = _identity(folder)
        try:
            manifest = read_manifest(folder)
            maps = {name: _verified_map(folder / name, expected) for name, expected in manifest.parts.items()}
            return Bundle(folder, manifest, maps)
        except ArtifactError:
            # Another bundle took this place between two reads: read that one.
            if place is None or _identity(folder) in (place, None):
                raise


def _identity(folder: Path) -> tuple[int, int] | None:
    """What stays the same until another folder takes the place; None while there is none."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def read_manifest(folder: Path) -> Manifest:
    """The manifest alone; its parts are not looked at."""
    file = folder / MANIFEST
    if not folder.is_dir():
        raise ArtifactError("there is no such bundle folder", file=folder)
    if not file.is_file():
        raise ArtifactError("the bundle has no manifest; is this a bundle folder?", file=file)
    if file.stat().st_size > _MAX_MANIFEST_BYTES:
        raise ArtifactError(f"the manifest has over {_MAX_MANIFEST_BYTES} bytes", file=file)
    try:
        record = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"the manifest is not JSON: {error}", file=file) from error
    except FileNotFoundError as error:
        raise ArtifactError("the manifest is gone", file=file) from error
    found = record.get("format") if isinstance(record, dict) else None
    if found != FORMAT:
        raise ArtifactError(
            f"bundle format {found!r} found, this version reads {FORMAT}; "
            'rebuild it with "guidealign bundle build" or install the version that wrote it',
            file=file,
            field="format",
        )
    return _manifest_from(record, file)


def _manifest_from(record: dict[str, Any], file: Path) -> Manifest:
    try:
        manifest = Manifest(
            **{
                **record,
                "encoder": EncoderInfo(**record["encoder"]),
                "index": _index_from(record["index"]),
                "tags": tuple(record.get("tags", ())),
                "thresholds": Thresholds(**record["thresholds"]) if record.get("thresholds") else None,
                "risk": RiskModel(**record["risk"]) if record.get("risk") else None,
            }
        )
        _check_types(manifest)
    except KeyError as error:
        raise ArtifactError("the field is missing", file=file, field=str(error.args[0])) from error
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"the manifest does not follow format {FORMAT}: {error}", file=file) from error
    for part in REQUIRED:
        if part not in manifest.parts:
            raise ArtifactError("the part is not listed", file=file, field=f"parts.{part}")
    for part, expected in manifest.parts.items():
        if Path(part).name != part or part in ("", ".", ".."):
            raise ArtifactError("a part must lie in the bundle folder itself", file=file, field=f"parts.{part}")
        if not isinstance(expected, dict) or set(expected) != {"bytes", "sha256"}:
            raise ArtifactError("a part must have bytes and sha256", file=file, field=f"parts.{part}")
    return manifest


def _index_from(record: Any) -> IndexInfo:
    if not isinstance(record, dict):
        raise TypeError(f"index is a {type(record).__name__}; it must be an object")
    choices = tuple(IndexChoice(**choice) for choice in record.get("choices", ()))
    return IndexInfo(**{**record, "choices": choices})


def _check_types(manifest: Manifest) -> None:
    """Raises TypeError or ValueError for a field of another type, or a number without meaning."""
    encoder, index = manifest.encoder, manifest.index
    counts = {
        "guidelines": manifest.guidelines,
        "vectors": manifest.vectors,
        "encoder.dimension": encoder.dimension,
        "encoder.vocabulary": encoder.vocabulary,
        "encoder.max_tokens": encoder.max_tokens,
        "index.nprobe": 1 if index.nprobe is None else index.nprobe,
        "index.pool": 1 if index.pool is None else index.pool,
    }
    for name, count in counts.items():
        if type(count) is not int or count < 1:
            raise ValueError(f"{name} is {count!r}; it must be a whole number above 0")
    if not isinstance(index.kind, str) or not isinstance(encoder.id, str) or not isinstance(manifest.name, str):
        raise TypeError("name, encoder.id and index.kind must be strings")
    if not isinstance(manifest.parts, dict):
        raise TypeError("parts must be an object")


def _verified_map(file: Path, expected: Mapping[str, Any]) -> mmap.mmap:
    try:
        with file.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            if size != expected["bytes"]:
                raise ArtifactError(
                    f"the file has {size} bytes, the manifest says {expected['bytes']}; copy the bundle anew",
                    file=file,
                    field="bytes",
                )
            # Read and not mapped for this: a part that is not looked at again takes no memory.
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
            mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise ArtifactError("the file is missing; copy the bundle anew", file=file) from error
    except OSError as error:
        raise ArtifactError(f"the file cannot be read: {error.strerror}", file=file) from error
    except ValueError as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError("the file is empty", file=file) from error
    if digest != expected["sha256"]:
        raise ArtifactError(
            f"the content has SHA-256 {digest[:12]}…, the manifest says {str(expected['sha256'])[:12]}…; "
            "the file is damaged or belongs to another bundle",
            file=file,
            field="sha256",
        )
    return mapped


_DTYPES = {
    "F16": np.float16,
    "F32": np.float32,
    "I8": np.int8,
    "U8": np.uint8,
    "I32": np.int32,
    "I64": np.int64,
}


def map_safetensors(mapped: mmap.mmap, file: Path) -> dict[str, NDArray[Any]]:
    """Read-only views into a safetensors file; safetensors itself would copy every array."""
    try:
        (header_size,) = struct.unpack("<Q", mapped[:8])
        header = json.loads(mapped[8 : 8 + header_size])
        if not isinstance(header, dict):
            raise ValueError("its header is no object")
        header.pop("__metadata__", None)
        arrays = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            dtype = np.dtype(_DTYPES[entry["dtype"]])
            count = int(np.prod(entry["shape"], dtype=np.int64))
            if not 0 <= begin <= end <= len(mapped) - 8 - header_size or end - begin != count * dtype.itemsize:
                raise ArtifactError("the array does not fit its place in the file", file=file, field=name)
            flat = np.frombuffer(mapped, dtype=dtype, count=count, offset=8 + header_size + begin)
            arrays[name] = flat.reshape(entry["shape"])
    except ArtifactError:
        raise
    except (struct.error, ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise ArtifactError(f"this is no safetensors file that this version reads: {error}", file=file) from error
    return arrays


def publish_bundle(folder: Path, manifest: Manifest, parts: Mapping[str, bytes]) -> Manifest:
    """Writes a bundle so that a reader of `folder` sees the old one or the new one, whole, and never a mixture.

    All is written and synced beside `folder`, then put in its place in one step. A folder that is no bundle is not
    replaced. Returns the manifest with its parts filled in.
    """
    check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        staging.chmod(0o755)
        entries = {}
        for name, content in parts.items():
            _write_synced(staging / name, content)
            entries[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        complete = _with_parts(manifest, entries)
        text = json.dumps(_manifest_record(complete), indent=2, ensure_ascii=False) + "\n"
        _write_synced(staging / MANIFEST, text.encode())
        _sync_folder(staging)
        if folder.exists():
            _exchange(staging, folder)
        else:
            staging.rename(folder)
        _sync_folder(folder.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return complete


def check_replaceable(folder: Path) -> None:
    """Raises ArtifactError for a place where no bundle may be published: a file, or a folder of something else."""
    if folder.exists() and not folder.is_dir():
        raise ArtifactError("this is a file; give a folder", file=folder)
    if folder.exists() and not (folder / MANIFEST).is_file() and any(folder.iterdir()):
        raise ArtifactError("the folder exists and is no bundle; give another one", file=folder)


def _with_parts(manifest: Manifest, entries: dict[str, dict[str, Any]]) -> Manifest:
    fields = {name: getattr(manifest, name) for name in Manifest.__dataclass_fields__}
    return Manifest(**{**fields, "parts": entries})


def _manifest_record(manifest: Manifest) -> dict[str, Any]:
    record = asdict(manifest)
    return {"format": record.pop("format"), **record}


def _write_synced(file: Path, content: bytes) -> None:
    with file.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(new: Path, old: Path) -> None:
    """Swaps two folders in one step, which rename() cannot do when the target is not empty."""
    at_current_folder, exchange = -100, 2
    libc = ctypes.CDLL(None, use_errno=True)
    names = (at_current_folder, os.fsencode(new), at_current_folder, os.fsencode(old))
    if hasattr(libc, "renameat2") and libc.renameat2(*names, exchange) == 0:
        return
    # No renameat2 in this C library or file system: the old folder steps aside for an instant.
    aside = new.with_name(new.name + ".old")
    old.rename(aside)
    new.rename(old)
    shutil.rmtree(aside)

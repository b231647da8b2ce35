"""The files of an encoder, from a bundle or from a trained student's folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from guidealign_engine.bundle import ENCODER, MANIFEST, PROJECTION, TOKENIZER, EncoderInfo, open_bundle
from guidealign_engine.errors import ArtifactError

STUDENT_RECORD = "student.json"


@dataclass(frozen=True, slots=True)
class EncoderFiles:
    """The parts of a bundle that belong to its encoder, as bytes."""

    info: EncoderInfo
    model: bytes
    tokenizer: bytes
    projection: bytes | None


def read_encoder_files(folder: Path) -> EncoderFiles:
    """Raises ArtifactError when the folder is neither a bundle nor a trained student, or a file is missing."""
    if (folder / MANIFEST).is_file():
        bundle = open_bundle(folder)
        projection = bundle.read(PROJECTION) if PROJECTION in bundle.manifest.parts else None
        return EncoderFiles(bundle.manifest.encoder, bundle.read(ENCODER), bundle.read(TOKENIZER), projection)
    record_file = folder / STUDENT_RECORD
    try:
        record = json.loads(record_file.read_bytes())
        info = EncoderInfo(
            id=record["encoder"],
            dimension=record["dimension"],
            vocabulary=record["vocabulary"],
            teacher=record["teacher"],
        )
        parts = [(folder / name).read_bytes() for name in (ENCODER, TOKENIZER, PROJECTION)]
    except OSError as error:
        raise ArtifactError(
            f"this is neither a bundle nor a trained student: {error.strerror}: {Path(error.filename).name}",
            file=folder,
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"this is no record of a trained student: {error!r}", file=record_file) from error
    return EncoderFiles(info, *parts)

"""The files of an encoder, from a bundle or from a trained student's folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors.numpy import load

from guidealign_engine.bundle import ENCODER, MANIFEST, PROJECTION, TOKENIZER, TOKENS, EncoderInfo, open_bundle
from guidealign_engine.errors import ArtifactError
from guidealign_engine.token_extras import TokenExtras

STUDENT_RECORD = "student.json"


@dataclass(frozen=True, slots=True)
class EncoderFiles:
    """The parts of a bundle that belong to its encoder, as bytes."""

    info: EncoderInfo
    model: bytes
    tokenizer: bytes
    projection: bytes | None
    tokens: bytes | None = None
    """What `extras` reads; None for an encoder without."""

    @property
    def extras(self) -> TokenExtras:
        """Bigrams and salience."""
        return TokenExtras.of(load(self.tokens) if self.tokens else {}, self.info, Path(TOKENS))


def read_encoder_files(folder: Path) -> EncoderFiles:
    """Raises ArtifactError when the folder is neither a bundle nor a trained student, or a file is missing."""
    if (folder / MANIFEST).is_file():
        bundle = open_bundle(folder)
        projection = bundle.read(PROJECTION) if PROJECTION in bundle.manifest.parts else None
        tokens = bundle.read(TOKENS) if TOKENS in bundle.manifest.parts else None
        return EncoderFiles(bundle.manifest.encoder, bundle.read(ENCODER), bundle.read(TOKENIZER), projection, tokens)
    record_file = folder / STUDENT_RECORD
    try:
        record = json.loads(record_file.read_bytes())
        info = EncoderInfo(
            id=record["encoder"],
            dimension=record["dimension"],
            vocabulary=record["vocabulary"],
            teacher=record["teacher"],
            bigrams=record.get("bigrams", 0),
        )
        model, tokenizer, projection = ((folder / name).read_bytes() for name in (ENCODER, TOKENIZER, PROJECTION))
        tokens = (folder / TOKENS).read_bytes() if (folder / TOKENS).is_file() else None
    except OSError as error:
        raise ArtifactError(
            f"this is neither a bundle nor a trained student: {error.strerror}: {Path(error.filename).name}",
            file=folder,
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"this is no record of a trained student: {error!r}", file=record_file) from error
    return EncoderFiles(info, model, tokenizer, projection, tokens)

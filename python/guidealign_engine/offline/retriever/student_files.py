"""The files of a trained or exported encoder, as `guidealign bundle build --encoder` reads them."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from safetensors.numpy import save
from tokenizers import Tokenizer

from guidealign_engine.bundle import ENCODER, PROJECTION, TOKENIZER, TOKENS
from guidealign_engine.encoder_files import STUDENT_RECORD
from guidealign_engine.errors import ConfigError
from guidealign_engine.offline.retriever.teacher import Projection
from guidealign_engine.token_extras import TokenExtras


@dataclass(frozen=True, slots=True)
class StudentFiles:
    """A folder with encoder.onnx, tokenizer.json, projection.safetensors, tokens.safetensors and student.json."""

    folder: Path

    def check_free(self) -> None:
        """Raises ConfigError when the folder holds an encoder already, or is a file."""
        if (self.folder / STUDENT_RECORD).exists():
            raise ConfigError(f"{self.folder} holds a student already; give another folder")
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigError(f"{self.folder} is a file; give a folder")

    def write(
        self,
        *,
        model: onnx.ModelProto,
        tokenizer: Tokenizer,
        projection: Projection,
        record: dict[str, Any],
        extras: TokenExtras | None = None,
    ) -> None:
        """All or, after an error such as a full disk, none; student.json comes last: a folder with it is whole."""
        self.check_free()
        contents = {
            ENCODER: model.SerializeToString(),
            TOKENIZER: tokenizer.to_str().encode(),
            PROJECTION: save({"projection": projection.matrix.astype(np.float16)}),
            **({TOKENS: extras.to_bytes()} if extras and not extras.is_empty else {}),
            STUDENT_RECORD: (json.dumps(record, indent=2) + "\n").encode(),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory(prefix=".unfinished.", dir=self.folder) as scratch:
                for name, content in contents.items():
                    write_synced(Path(scratch) / name, content)
                for name in contents:
                    (Path(scratch) / name).replace(self.folder / name)
        except OSError:
            with suppress(OSError):  # it holds something else
                self.folder.rmdir()
            raise


def write_synced(file: Path, content: bytes) -> None:
    """Writes a file and waits until the disk has it."""
    with file.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())

"""The files of a trained student, as `guidealign bundle build --encoder` reads them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from guidealign_engine.errors import ConfigError
from guidealign_engine.offline.retriever.teacher import Projection


@dataclass(frozen=True, slots=True)
class StudentFiles:
    """A folder with encoder.onnx, tokenizer.json, projection.safetensors and student.json."""

    folder: Path

    def write(
        self, *, model: onnx.ModelProto, tokenizer: Tokenizer, projection: Projection, record: dict[str, Any]
    ) -> None:
        """Writes all four; student.json comes last, so a folder that has it is whole."""
        if (self.folder / "student.json").exists():
            raise ConfigError(f"{self.folder} holds a student already; give another folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "encoder.onnx").write_bytes(model.SerializeToString())
        (self.folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
        save_file({"projection": projection.matrix.astype(np.float16)}, self.folder / "projection.safetensors")
        (self.folder / "student.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

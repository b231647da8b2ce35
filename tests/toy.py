"""Small real artifacts for tests: a library, a vocabulary, an encoder, a bundle, a tokenizer of a chat model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from toy_guidelines import GUIDELINES, POSITION, SENTENCES, SHARED_EXAMPLE, guideline

from guidealign_engine.building import StudentEmbedder, build_bundle
from guidealign_engine.bundle import MANIFEST, EncoderInfo
from guidealign_engine.config import Thresholds
from guidealign_engine.encoder import OnnxEncoder
from guidealign_engine.encoder_files import EncoderFiles
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.offline.export.static_onnx import QuantisedTable, export_static
from guidealign_engine.offline.retriever.vocabulary import PADDING, UNKNOWN, train_vocabulary
from guidealign_engine.tokenizer import QueryTokenizer

__all__ = ["GUIDELINES", "POSITION", "SENTENCES", "SHARED_EXAMPLE", "guideline"]

DIMENSION = 64
THRESHOLDS = Thresholds(safety=0.6, quality=0.65, relative=0.7)
HEADER = "Follow these guidelines where they apply to the request. Do not mention them."


IM_START, IM_END = "<|im_start|>", "<|im_end|>"


def make_vocabulary(sentences: Sequence[str]) -> Tokenizer:
    """All words of the sentences, and single characters for the rest.

    Training breaks ties differently in each process, so of the pieces of words only the shortest are kept.
    """
    trained = train_vocabulary([*sentences, *sentences], 5000)
    words = {word for text in sentences for word, _ in trained.pre_tokenizer.pre_tokenize_str(text.lower())}
    pieces = set(trained.get_vocab()) - {PADDING, UNKNOWN}
    kept = sorted(piece for piece in pieces if piece in words or len(piece.removeprefix("##")) == 1)
    definition = json.loads(trained.to_str())
    definition["model"]["vocab"] = {piece: number for number, piece in enumerate([PADDING, UNKNOWN, *kept])}
    return Tokenizer.from_str(json.dumps(definition))


def make_encoder(*, dimension: int = DIMENSION, sentences: Sequence[str] = SENTENCES, seed: int = 1) -> EncoderFiles:
    """A vocabulary of the toy sentences, and a static encoder with a random table."""
    tokenizer = make_vocabulary(sentences)
    size = tokenizer.get_vocab_size()
    table = np.random.default_rng(seed).standard_normal((size, dimension)).astype(np.float32)
    table[0] = 0.0
    return EncoderFiles(
        EncoderInfo(id=f"toy-{seed}", dimension=dimension, vocabulary=size, max_tokens=512),
        export_static(QuantisedTable.quantise(table)).SerializeToString(),
        tokenizer.to_str().encode(),
        None,
    )


def make_student(files: EncoderFiles) -> StudentEmbedder:
    return StudentEmbedder(
        QueryTokenizer(files.tokenizer.decode(), max_tokens=files.info.max_tokens),
        OnnxEncoder(files.model, dimension=files.info.dimension, threads=1, source=Path("encoder.onnx")),
    )


def build_toy(
    folder: Path,
    *,
    records: Sequence[GuidelineRecord] = GUIDELINES,
    thresholds: Thresholds | None = THRESHOLDS,
    store: str = "float16",
    examples: str = "each",
    encoder: EncoderFiles | None = None,
) -> Path:
    """A bundle of the toy library by its own encoder, with several vectors a guideline unless examples are folded."""
    files = encoder or make_encoder()
    student = make_student(files)
    build_bundle(
        records,
        folder,
        name="toy",
        created_by="tests",
        encoder_files=files,
        student=student,
        library_embedder=student,
        thresholds=thresholds,
        store=store,
        examples=examples,
    )
    return folder


def make_target(file: Path) -> Path:
    """A byte-level BPE tokenizer with the control tokens of ChatML, as small chat models have it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[IM_START, IM_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.save(str(file))
    return file


def block_of(ids: Sequence[str], *, records: Sequence[GuidelineRecord] = GUIDELINES) -> str:
    """The guideline block of a set of ids, written out plainly."""
    entries = [record.entry.replace("</guidelines>", "<\\/guidelines>") for record in records if record.id in set(ids)]
    return "\n".join(["<guidelines>", HEADER, *[f"- {entry}" for entry in entries], "</guidelines>"])


def rewrite_manifest(folder: Path, **changes: Any) -> dict[str, Any]:
    """Changes fields of a manifest; a name with "__" reaches into an object. None of it is checked."""
    file = folder / MANIFEST
    record: dict[str, Any] = json.loads(file.read_bytes())
    for name, value in changes.items():
        place = record
        *outer, last = name.split("__")
        for key in outer:
            place = place[key]
        place[last] = value
    file.write_text(json.dumps(record), encoding="utf-8")
    return record


def replace_part(folder: Path, part: str, content: bytes) -> None:
    """Puts other content in a part's place, with a size and hash in the manifest that fit it."""
    (folder / part).write_bytes(content)
    file = folder / MANIFEST
    record = json.loads(file.read_bytes())
    record["parts"][part] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    file.write_text(json.dumps(record), encoding="utf-8")


def rewrite_arrays(folder: Path, part: str, changes: Mapping[str, np.ndarray[Any, Any] | None]) -> None:
    """Changes or (None) removes arrays of a safetensors part; its hash fits again afterwards."""
    from safetensors.numpy import load, save

    arrays = {**load((folder / part).read_bytes()), **changes}
    replace_part(folder, part, save({name: array for name, array in arrays.items() if array is not None}))

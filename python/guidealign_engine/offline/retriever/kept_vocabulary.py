"""A trained vocabulary that is kept on disk, so that a killed run goes on with the same one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from guidealign_engine.errors import ArtifactError
from guidealign_engine.offline.retriever.student_files import write_synced
from guidealign_engine.offline.retriever.vocabulary import train_vocabulary


def kept_vocabulary(texts: Sequence[str], size: int, cache: Path) -> Tokenizer:
    """The vocabulary of these texts, from `cache` where it is. Training it breaks ties differently each time.

    Raises ArtifactError for a file in `cache` that is no tokenizer.
    """
    digest = hashlib.sha256(str(size).encode())
    for text in texts:
        digest.update(b"\0" + text.encode("utf-8", "surrogatepass"))
    file = cache / f"{digest.hexdigest()[:32]}.tokenizer.json"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".tmp")
        write_synced(unfinished, train_vocabulary(texts, size).to_str().encode())
        unfinished.replace(file)
    try:
        tokenizer: Tokenizer = Tokenizer.from_str(file.read_text(encoding="utf-8"))
    except Exception as error:  # tokenizers raises bare Exception
        raise ArtifactError(f"this is no tokenizer definition: {error}; delete it", file=file) from error
    # Not part of the definition: the marker of an unknown word must not be writable by a user.
    tokenizer.encode_special_tokens = True
    return tokenizer

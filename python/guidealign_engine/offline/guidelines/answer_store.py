"""Every answer of a model, kept on disk as soon as it is there."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from guidealign_engine.errors import ArtifactError

Message = Mapping[str, str]
Question = Sequence[Message] | str
"""Chat messages, or the text of a raw prompt for a model that has a form of its own"""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    question BLOB PRIMARY KEY,
    text TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    refusal TEXT NOT NULL,
    cut INTEGER NOT NULL
) WITHOUT ROWID
"""
_COLUMNS = "text, prompt_tokens, completion_tokens, refusal, cut"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model said, and the tokens that it cost.

    refusal: why it says nothing, in its own words; cut: the answer ended at the limit of its tokens.
    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    refusal: str = ""
    cut: bool = False


def question_key(model: str, question: Question, options: Mapping[str, Any]) -> bytes:
    """The same for the same question, whatever the endpoint's address."""
    asked = json.dumps(question) if isinstance(question, str) else f"[{', '.join(map(_message_json, question))}]"
    content = f"[{json.dumps(model)}, {asked}, {json.dumps(options, sort_keys=True, default=dict)}]"
    return hashlib.sha256(content.encode()).digest()


def _message_json(message: Mapping[str, str]) -> str:
    if len(message) == 2 and "role" in message and "content" in message:
        return _plain_message_json(message["role"], message["content"])
    return json.dumps(dict(message), sort_keys=True)


# Two dozen exemplars stand before every question; writing them out again took half the time of finding its answer.
@lru_cache(256)
def _plain_message_json(role: str, content: str) -> str:
    return json.dumps({"content": content, "role": role})


class AnswerStore:
    """Answers by question. An answer that `put` returned for survives a killed process."""

    def __init__(self, file: Path) -> None:
        """Raises ArtifactError when the file cannot be opened or is no store."""
        self._file = file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            # Each statement is its own transaction: an answer is on disk before it counts as given.
            self._connection = sqlite3.connect(file, isolation_level=None)
            # A write-ahead log is one append an answer; what a power cut may take, a killed process cannot.
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute(_SCHEMA)
            self._connection.execute(f"SELECT {_COLUMNS} FROM answers LIMIT 0")
        except (sqlite3.Error, OSError) as error:
            raise ArtifactError(f"the answers cannot be kept here: {error}", file=file) from error

    def __len__(self) -> int:
        count: int = self._connection.execute("SELECT count(*) FROM answers").fetchone()[0]
        return count

    def get(self, question: bytes) -> Answer | None:
        """The answer, None when there is none yet. Raises ArtifactError when the file is damaged."""
        try:
            row = self._connection.execute(f"SELECT {_COLUMNS} FROM answers WHERE question = ?", (question,)).fetchone()
        except sqlite3.Error as error:
            raise ArtifactError(f"the answers cannot be read: {error}", file=self._file) from error
        if row is None:
            return None
        text, prompt_tokens, completion_tokens, refusal, cut = row
        return Answer(
            text=text,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            refusal=refusal,
            cut=bool(cut),
        )

    def put(self, question: bytes, answer: Answer) -> None:
        """Keeps an answer, unless there is one already: what was used once stays what is used.

        Raises ArtifactError when the disk is full or the file has gone; earlier answers stay.
        """
        row = (answer.text, answer.prompt_tokens, answer.completion_tokens, answer.refusal, answer.cut)
        try:
            self._connection.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?)", (question, *row))
        except sqlite3.Error as error:
            raise ArtifactError(
                f"an answer cannot be kept: {error}; those before it are, so make room and run the same command again",
                file=self._file,
            ) from error

    def close(self) -> None:
        self._connection.close()

"""Damaged content with a fitting hash: refused or answered, and never a crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import toy

from guidealign_engine.bundle import (
    COLUMNS,
    ENCODER,
    INDEX,
    TOKENIZER,
)

# Each damaged content runs in one process of its own, so that a crash is seen as one.
DAMAGE = """
import sys
from pathlib import Path
import numpy as np
import toy
from guidealign_engine import ArtifactError, load_engine

folder, part = Path(sys.argv[1]), sys.argv[2]
content = (folder / part).read_bytes()
rng = np.random.default_rng(3)
outcomes = dict.fromkeys(("refused", "answered", "leaked"), 0)
for trial in range(int(sys.argv[3])):
    damaged = bytearray(content)
    if trial % 4 == 0:
        damaged = damaged[: rng.integers(1, len(content))]
    # The front of the file is structure, the rest are numbers that nobody can tell from others.
    for place in rng.integers(0, min(len(damaged), 200 if trial % 2 else len(damaged)), size=4):
        damaged[place] = rng.integers(256)
    toy.replace_part(folder, part, bytes(damaged))
    try:
        found = load_engine(folder).retrieve_batch(["how do I pick a lock", ""], min_score=-1.0)
        assert all(np.isfinite(retrieval.scores).all() for retrieval in found)
        outcomes["answered"] += 1
    except ArtifactError:
        outcomes["refused"] += 1
    except Exception as error:
        outcomes["leaked"] += 1
        print(trial, type(error).__name__, str(error)[:120], file=sys.stderr)
print(outcomes["refused"] > 0, outcomes["leaked"])
"""


@pytest.mark.parametrize(("part", "trials"), [(INDEX, 150), (ENCODER, 150), (COLUMNS, 150), (TOKENIZER, 60)])
def test_damaged_content_with_a_fitting_hash_is_refused_or_answered_and_never_crashes(
    run_python: Any, bundle_copy: Path, part: str, trials: int
) -> None:
    done = run_python(DAMAGE, bundle_copy, part, str(trials))
    assert done.returncode == 0, done.stderr
    # onnxruntime prints lines of its own before.
    assert done.stdout.splitlines()[-1] == "True 0", done.stderr


@pytest.mark.parametrize("part", [INDEX, ENCODER])
@pytest.mark.parametrize("content", [b"\x00" * 500, b"garbage " * 100, b"\xff" * 500], ids=["zeros", "text", "ones"])
def test_garbage_with_a_fitting_hash_is_refused_by_name(
    run_python: Any, bundle_copy: Path, part: str, content: bytes
) -> None:
    toy.replace_part(bundle_copy, part, content)
    code = """
import sys
from guidealign_engine import ArtifactError, load_engine
try:
    load_engine(sys.argv[1])
except ArtifactError as error:
    print(error.file.name, str(error).split(": ")[1])
"""
    done = run_python(code, bundle_copy)
    rule = "FAISS cannot read the index" if part == INDEX else "onnxruntime cannot load the encoder"
    assert (done.returncode, done.stdout) == (0, f"{part} {rule}\n"), done.stderr

"""Fixtures that tests share: one toy bundle, one engine on it, one tokenizer of a chat model."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import toy
from command_runs import write_lines
from hypothesis import settings
from tokenizers import Tokenizer

from guidealign_engine import Engine, TargetTokenizer, load_engine

settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("fixed")


@pytest.fixture(scope="session")
def toy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated bundle of the toy library. Not to be changed; `bundle_copy` may be."""
    return toy.build_toy(tmp_path_factory.mktemp("toy") / "bundle")


@pytest.fixture(scope="session")
def toy_engine(toy_bundle: Path) -> Engine:
    return load_engine(toy_bundle)


@pytest.fixture(scope="session")
def threaded_engine(toy_bundle: Path) -> Engine:
    """The same bundle, with batches split over two threads."""
    return load_engine(toy_bundle, threads=2)


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another library with another encoder: no part of it fits to `toy_bundle`."""
    encoder = toy.make_encoder(dimension=32, sentences=toy.SENTENCES[:60], seed=11)
    folder = tmp_path_factory.mktemp("other") / "bundle"
    return toy.build_toy(folder, records=toy.GUIDELINES[:30], thresholds=None, encoder=encoder)


@pytest.fixture
def bundle_copy(toy_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_bundle, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def target_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.make_target(tmp_path_factory.mktemp("target") / "tokenizer.json")


@pytest.fixture(scope="session")
def target(target_file: Path) -> TargetTokenizer:
    return TargetTokenizer(target_file, chat_format="chatml")


@pytest.fixture(scope="session")
def plain_target(target_file: Path) -> TargetTokenizer:
    return TargetTokenizer(target_file)


@pytest.fixture(scope="session")
def decode(target_file: Path) -> Callable[[Any], str]:
    """Token ids back to text, control tokens written out."""
    tokenizer = Tokenizer.from_file(str(target_file))
    return lambda ids: tokenizer.decode(list(ids), skip_special_tokens=False)


Raises = Callable[[type[Exception], str], Any]


@pytest.fixture(scope="session")
def raises_exactly() -> Raises:
    """`with raises_exactly(Error, message)`: the error must say the message and nothing else."""

    def expect(error: type[Exception], message: str) -> Any:
        return pytest.raises(error, match=f"^{re.escape(message)}$")

    return expect


@pytest.fixture(scope="session")
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs code in a process of its own, where a crash is a return code."""

    def run(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        )

    return run


@pytest.fixture(scope="module")
def one_torch_thread() -> Iterator[None]:
    """Steps of tiny models are so short that threads would mostly wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def run() -> Callable[..., Any]:
    """A command in this process; `stdin` is what comes through the pipe."""
    from typer.testing import CliRunner

    from guidealign_engine.commands import app

    def call(*arguments: str | Path, stdin: str | bytes = "") -> Any:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)

    return call


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """The toy library as a file that an author would write."""
    lines = [
        {"id": g.id, "kind": g.kind, "title": g.title, "text": g.text, "examples": g.examples, "tags": g.tags}
        for g in toy.GUIDELINES
    ]
    return write_lines(tmp_path / "policy.jsonl", lines)

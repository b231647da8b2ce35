"""`library generate` against a serving program that is not ours, with a tiny model made on the spot."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_library_generate import command, lines, run, write_inputs

pytest.importorskip("fastapi", reason="transformers serve needs fastapi")
pytest.importorskip("accelerate", reason="transformers serve needs accelerate")
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"


def make_model(folder: Path) -> Path:
    """A Llama of one layer with random weights, and a tokenizer that knows every byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["how to write a guideline. Verdict: safe or unsafe"], trainer)
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_input_names=["input_ids", "attention_mask"], **names
    )
    wrapped.chat_template = TEMPLATE
    wrapped.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(wrapped),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16_384,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("transformers")
    serving = subprocess.Popen(
        [program, "serve", "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "NO_PROXY": "*"},
    )
    url = f"http://127.0.0.1:{port}/v1"
    try:
        for _ in range(150):
            assert serving.poll() is None, "transformers serve ended at once"
            try:
                urllib.request.urlopen(f"{url}/models", timeout=2).close()
                break
            except OSError:
                time.sleep(0.2)
        yield url
    finally:
        serving.kill()
        serving.wait()


def test_a_program_that_is_not_ours_is_asked_and_its_nonsense_listed(served: str, tmp_path: Path) -> None:
    model = make_model(tmp_path / "model")
    inputs = write_inputs(tmp_path / "inputs.txt", ["how to mend a chair", "write a poem"])
    arguments = command(
        inputs, served, tmp_path / "out", "--model", str(model), "--timeout-s", "20", "--concurrency", "1"
    )
    done = run(arguments)
    # A model of random weights gives no verdict, which is what has to be said about it.
    assert done.returncode == 1
    assert "6 calls (0 answered before)" in done.stdout
    skipped = lines(tmp_path / "out" / "skipped.jsonl")
    assert [each["input"] for each in skipped] == ["how to mend a chair", "write a poem"]
    assert all(each["why"].startswith("no verdict in 3 answers; the last: ") for each in skipped)
    assert "0 calls (6 answered before)" in run(arguments).stdout

"""`library generate` against a serving program that is not ours, with a tiny model made on the spot."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generate_runs import lines, run, write_inputs
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

pytest.importorskip("fastapi", reason="transformers serve needs fastapi")
pytest.importorskip("accelerate", reason="transformers serve needs accelerate")
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"


def make_model(folder: Path) -> Path:
    """A Llama of one layer with random weights, and a tokenizer that knows every byte; written without transformers."""
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
    pieces, width = tokenizer.get_vocab_size(), 16
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        tokenizer_class="PreTrainedTokenizerFast",
        model_input_names=["input_ids", "attention_mask"],
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        chat_template=TEMPLATE,
    )
    write_json(
        folder / "config.json",
        architectures=["LlamaForCausalLM"],
        model_type="llama",
        vocab_size=pieces,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=16_384,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    squares = [f"model.layers.0.self_attn.{name}_proj" for name in "qkvo"]
    norms = ["model.norm", "model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm"]
    shapes: dict[str, tuple[int, ...]] = {
        **dict.fromkeys(("model.embed_tokens", "lm_head"), (pieces, width)),
        **dict.fromkeys(squares, (width, width)),
        **dict.fromkeys(("model.layers.0.mlp.gate_proj", "model.layers.0.mlp.up_proj"), (2 * width, width)),
        "model.layers.0.mlp.down_proj": (width, 2 * width),
        **dict.fromkeys(norms, (width,)),
    }
    random = np.random.default_rng(7)
    weights = {f"{name}.weight": random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_json(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps(fields), encoding="utf-8")


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
    options = ("--model", str(model), "--timeout-s", "60", "--concurrency", "1", "--max-tokens", "64")
    done = run(inputs, served, tmp_path / "out", *options)
    # A model of random weights gives no verdict, which is what has to be said about it.
    assert done.exit_code == 1, done.stderr
    assert "6 calls (0 answered before)" in done.stdout
    # This server streams whatever it is asked, and counts no tokens.
    assert "0 tokens read and 0 written" in done.stdout
    skipped = lines(tmp_path / "out" / "skipped.jsonl")
    assert [each["input"] for each in skipped] == ["how to mend a chair", "write a poem"]
    assert all(each["why"].startswith("no verdict in 3 answers; the last: ") for each in skipped)
    assert len({each["why"] for each in skipped}) == 2
    assert "0 calls (6 answered before)" in run(inputs, served, tmp_path / "out", *options).stdout

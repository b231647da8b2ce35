"""Where encoders are trained, and that losses stay there: without a GPU, on a device of torch that has no numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from typer.testing import CliRunner

from guidealign_engine import load_engine
from guidealign_engine.commands import app
from guidealign_engine.errors import ConfigError, DeviceError

torch = pytest.importorskip("torch", reason="the offline extra is not installed")
pytest.importorskip("sentence_transformers", reason="the offline extra is not installed")

from all_runs import run, write_material  # noqa: E402
from tiny_model import save_tiny_model  # noqa: E402

from guidealign_engine.offline.retriever.contrast import Contrast, Loss  # noqa: E402
from guidealign_engine.offline.retriever.distil_loss import DistilWeights, distil_loss  # noqa: E402
from guidealign_engine.offline.retriever.prototypes import Prototypes  # noqa: E402
from guidealign_engine.offline.retriever.teacher import Teacher  # noqa: E402
from guidealign_engine.offline.retriever.teacher_config import (  # noqa: E402
    GPU_BATCH_FACTOR,
    TeacherConfig,
    TrainingInput,
)
from guidealign_engine.offline.retriever.teacher_losses import (  # noqa: E402
    Targets,
    anchor_loss,
    contrast_loss,
    risk_loss,
)
from guidealign_engine.offline.retriever.teacher_steps import TeacherStep  # noqa: E402
from guidealign_engine.offline.retriever.training_device import (  # noqa: E402
    CPU,
    choose_device,
    described,
    enough_memory,
)
from guidealign_engine.offline.retriever.transformer_config import TransformerConfig  # noqa: E402

GPU = torch.device("cuda", 0)
# Tensors with a shape and no numbers. What adds or compares them with those of the CPU is an error, as on a GPU.
ELSEWHERE = torch.device("meta")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


# Choosing


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("asked", "there", "chosen"),
    [
        ("auto", 0, "cpu"),
        ("auto", 2, "cuda:0"),
        ("cpu", 2, "cpu"),
        ("cuda", 1, "cuda:0"),
        ("cuda:1", 2, "cuda:1"),
    ],
)
def test_auto_takes_a_gpu_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, asked: str, there: int, chosen: str
) -> None:
    gpus(monkeypatch, there)
    assert str(choose_device(asked)) == chosen


@pytest.mark.parametrize("asked", ["gpu", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cuda:1,2", "mps", "", "0", "cuda:²"])
def test_a_name_of_no_device_is_refused(monkeypatch: pytest.MonkeyPatch, raises_exactly: Any, asked: str) -> None:
    gpus(monkeypatch, 4)
    with raises_exactly(ConfigError, f"device is {asked!r}; allowed: auto, cpu, cuda, cuda:N"):
        choose_device(asked)


@pytest.mark.parametrize(
    ("asked", "there", "message"),
    [
        (
            "cuda",
            0,
            "device 'cuda' was asked for, but torch .* (is built without CUDA; install|finds no CUDA device; see)",
        ),
        ("cuda:2", 2, "device 'cuda:2' was asked for, but torch finds 2 of them, cuda:0 to cuda:1; give one of these"),
    ],
)
def test_a_missing_gpu_is_an_error_and_no_fallback(
    monkeypatch: pytest.MonkeyPatch, asked: str, there: int, message: str
) -> None:
    gpus(monkeypatch, there)
    with pytest.raises(DeviceError, match=message):
        choose_device(asked)


@without_gpu
def test_a_record_says_why_it_was_the_cpu() -> None:
    assert described(choose_device()) == "cpu: torch finds no GPU"


@without_gpu
@pytest.mark.parametrize("command", ["teacher", "student", "all"])
def test_no_command_trains_elsewhere_than_asked(tmp_path: Path, command: str) -> None:
    files = []
    for name in ("guidelines", "texts", "pairs"):
        file = tmp_path / f"{name}.jsonl"
        file.write_text(GUIDELINE_LINE if name == "guidelines" else "", encoding="utf-8")
        files += [f"--{name}", str(file)]
    more = ["--cache", str(tmp_path / "cache")] if command == "student" else []
    arguments = ["build", command, *files, *more, "--out", str(tmp_path / "out"), "--device", "cuda"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "device 'cuda' was asked for, but torch" in done.stderr
    assert not (tmp_path / "out").exists()


GUIDELINE_LINE = '{"id": "a-b", "kind": "safety", "title": "A", "text": "Say a."}\n'


def test_a_full_gpu_says_what_to_change() -> None:
    words = "CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has a total capacity of 1 GiB. Process 7 has it"
    with (
        pytest.raises(
            DeviceError,
            match="cuda:0 has too little memory: Tried to allocate 2 GiB GPU 0 has a total capacity of 1 GiB; give a ",
        ) as caught,
        enough_memory(GPU),
    ):
        raise torch.OutOfMemoryError(words)
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)


# Batches


def test_a_gpu_takes_larger_steps_unless_their_size_is_given() -> None:
    plain = TeacherConfig(epochs=2)
    assert plain.with_batches(None, gpu=False) == plain
    assert plain.with_batches(32, gpu=True) == TeacherConfig(epochs=2, batch_size=32)
    large = plain.with_batches(None, gpu=True)
    assert (large.batch_size, large.guidelines_per_step, large.texts_per_step) == (128, 32, 48)
    # As many inputs between two encodings of the bank as before.
    assert large.bank_steps * large.batch_size == plain.bank_steps * plain.batch_size
    assert large.learning_rate == pytest.approx(plain.learning_rate * GPU_BATCH_FACTOR**0.5)
    assert large.epochs == plain.epochs
    thin = TransformerConfig(layers=1)
    assert thin.on(gpu=False) == thin
    assert thin.on(gpu=True).batch_size == 4 * thin.batch_size
    assert thin.on(gpu=True).learning_rate == pytest.approx(2 * thin.learning_rate)


# Losses, on one device


def test_tensors_of_two_devices_do_not_mix() -> None:
    with pytest.raises(RuntimeError, match="not on the expected device"):
        torch.zeros(2, device=ELSEWHERE) + torch.zeros(2)


@pytest.mark.parametrize("loss", Loss)
def test_the_teachers_losses_stay_on_their_device(loss: Loss) -> None:
    inputs = [TrainingInput("a", (0, 2), True), TrainingInput("b", (1,), False), TrainingInput("c", (2,), False)]
    step = TeacherStep([4, 1, 0], inputs, ["d"], ["e", "f"])
    config = TeacherConfig(contrast=Contrast(loss=loss), dimensions=(4,))
    prototypes = Prototypes([(2,), (1,), (0,), (3,), (0, 2)], 4, 8, ELSEWHERE)
    targets = Targets.of(inputs, [[0], [1, 3], [2], [3, 1]], 2, np.random.default_rng(0), ELSEWHERE)
    queries, guidelines, bank = (torch.zeros(rows, 8, device=ELSEWHERE, requires_grad=rows < 4) for rows in (3, 2, 4))
    weights = torch.zeros(8, 1, device=ELSEWHERE)
    losses = [
        contrast_loss(queries, guidelines, bank, targets, step.rows, prototypes, config),
        risk_loss(lambda vectors: vectors @ weights, torch.zeros(4, 8, device=ELSEWHERE), step),
        anchor_loss(torch.zeros(3, 8, device=ELSEWHERE), torch.zeros(3, 8, device=ELSEWHERE), 10.0),
    ]
    torch.stack(losses).sum().backward()
    assert {each.device for each in (*losses, queries.grad, *prototypes.state().values())} == {ELSEWHERE}
    prototypes.resume({name: torch.zeros_like(part, device=CPU) for name, part in prototypes.state().items()})
    assert {each.device for each in prototypes.state().values()} == {ELSEWHERE}


def test_the_students_loss_stays_on_its_device() -> None:
    student, teacher, guidelines = (torch.zeros(rows, 8, device=ELSEWHERE) for rows in (5, 5, 3))
    assert distil_loss(student, teacher, DistilWeights()).device == ELSEWHERE
    with_library = distil_loss(student, teacher, DistilWeights(library_weight=0.5), guidelines, None)
    assert with_library.device == ELSEWHERE


# On a GPU


@needs_gpu
@pytest.mark.gpu
def test_a_gpu_embeds_what_the_cpu_embeds(tmp_path: Path, no_hub: None) -> None:
    model = save_tiny_model(tmp_path, toy.SENTENCES)
    on_cpu, on_gpu = (Teacher(model, device=device).embed(toy.SENTENCES) for device in (CPU, GPU))
    # Sums in another order, through two layers.
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-4)
    halved = Teacher(model, device=GPU).embed(toy.SENTENCES, half_precision=True)
    assert (halved * on_cpu).sum(axis=1).min() > 0.98


@needs_gpu
@pytest.mark.gpu
def test_a_gpu_trains_a_teacher_and_a_student_that_a_cpu_reads(tmp_path: Path, no_hub: None) -> None:
    material = write_material(tmp_path)
    done = run(material, tmp_path / "out", "--teacher-epochs", "2", "--device", "cuda", "--gpu-student", "teacher")
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "out" / "run.json").read_bytes())
    assert record["machine"]["device"].startswith("cuda:0: ")
    assert record["steps"]["teacher"]["result"]["device"] == record["machine"]["device"]
    tuned = Teacher(str(tmp_path / "out" / "work" / "teacher"), device=CPU)
    assert np.isfinite(tuned.embed(toy.SENTENCES)).all()
    assert load_engine(tmp_path / "out" / "bundle").retrieve_batch([toy.SENTENCES[1]], min_score=-1.0)[0].guidelines

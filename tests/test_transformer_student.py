"""Distilling a thin transformer, from a tiny teacher made on the spot."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy

from guidealign_engine import load_engine
from guidealign_engine.encoder_files import read_encoder_files
from guidealign_engine.errors import ArtifactError, ConfigError

torch = pytest.importorskip("torch", reason="the offline extra is not installed")
pytest.importorskip("optimum.exporters.onnx", reason="the offline extra is not installed")

from tiny_model import save_tiny_model  # noqa: E402

from guidealign_engine.offline.retriever import checkpoints  # noqa: E402
from guidealign_engine.offline.retriever.build_student import (  # noqa: E402
    StudentConfig,
    StudentMaterial,
    build_student,
)
from guidealign_engine.offline.retriever.checkpoints import CHECKPOINT  # noqa: E402
from guidealign_engine.offline.retriever.distil_loss import distil_loss  # noqa: E402
from guidealign_engine.offline.retriever.kept_vocabulary import kept_vocabulary  # noqa: E402
from guidealign_engine.offline.retriever.static_student import DistilConfig, LibraryTargets  # noqa: E402
from guidealign_engine.offline.retriever.student_files import StudentFiles  # noqa: E402
from guidealign_engine.offline.retriever.teacher_config import TrainingInput  # noqa: E402
from guidealign_engine.offline.retriever.thin_bert import ThinBert  # noqa: E402
from guidealign_engine.offline.retriever.token_rows import TokenRows  # noqa: E402
from guidealign_engine.offline.retriever.training_device import CPU, choose_device  # noqa: E402
from guidealign_engine.offline.retriever.transformer_config import TransformerConfig  # noqa: E402
from guidealign_engine.offline.retriever.transformer_student import TransformerDistiller  # noqa: E402
from guidealign_engine.offline.retriever.vocabulary import train_vocabulary  # noqa: E402

VERBS = ["fold", "paint", "sell", "weigh", "mend", "hide"]
SUBJECTS = ["maps", "rivers", "poems", "spiders", "engines", "violins"]
TEXTS = [f"{verb} {subject} {number}" for verb in VERBS for subject in SUBJECTS for number in range(4)]
RECORDS = toy.GUIDELINES[:8]
DIMENSION = 16
CONFIG = TransformerConfig(
    layers=1, width=32, epochs=3, batch_size=16, tokens_per_batch=256, learning_rate=5e-3, held_out=20
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.usefixtures("one_torch_thread", "no_hub"),
]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    texts = [*TEXTS, *(text for record in RECORDS for text in (record.entry, *record.examples))]
    return save_tiny_model(tmp_path_factory.mktemp("teacher"), texts)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vectors")


@pytest.fixture(scope="module")
def built(teacher: str, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "student"
    build(teacher, cache, out)
    return out


def build(teacher: str, cache: Path, out: Path, config: TransformerConfig = CONFIG) -> list[str]:
    lines: list[str] = []
    inputs = [TrainingInput(example, (row,), True) for row, record in enumerate(RECORDS) for example in record.examples]
    build_student(
        StudentMaterial(TEXTS, RECORDS, inputs),
        [*TEXTS, *(record.entry for record in RECORDS)],
        StudentFiles(out),
        cache,
        StudentConfig(
            teacher=teacher, dimension=DIMENSION, vocabulary=400, distil=DistilConfig(held_out=20), transformer=config
        ),
        lines.append,
    )
    return lines


def ordered_targets() -> np.ndarray:
    """A teacher that no sum of token vectors can imitate: "fold maps" and "maps fold" are opposites."""
    directions = dict(zip(SUBJECTS, np.linalg.qr(np.random.default_rng(3).standard_normal((16, 16)))[0], strict=False))
    vectors = [directions[subject] for verb in VERBS for subject in SUBJECTS for _ in range(4)]
    return np.array([*vectors, *(-vector for vector in vectors)], dtype=np.float32)


ORDERED = [*TEXTS, *(" ".join(text.split()[:2][::-1] + text.split()[2:]) for text in TEXTS)]
# One for all: training it anew breaks ties differently.
TOKENIZER = train_vocabulary(ORDERED, 300)


def distiller(
    config: TransformerConfig = CONFIG,
    *,
    texts: Sequence[str] = ORDERED,
    targets: np.ndarray | None = None,
    library: LibraryTargets | None = None,
    device: torch.device = CPU,
) -> TransformerDistiller:
    table = np.random.default_rng(0).standard_normal((TOKENIZER.get_vocab_size(), DIMENSION)).astype(np.float32)
    return TransformerDistiller(
        TOKENIZER,
        texts,
        ordered_targets() if targets is None else targets,
        table,
        config,
        library=library,
        device=device,
    )


def test_a_transformer_learns_the_order_of_words(tmp_path: Path) -> None:
    learner = distiller(
        replace(CONFIG, epochs=12, batch_size=32, learning_rate=1e-2, token_dropout=0.0, similarity_weight=1.0)
    )
    report = learner.train(tmp_path / CHECKPOINT)
    # A text and its reverse have the same tokens and opposite vectors: sums of tokens cannot get above 0.
    assert max(report.cosine) > 0.8
    assert report.cosine[report.best_epoch - 1] == max(report.cosine)


def test_labels_teach_what_the_teacher_does_not_know(tmp_path: Path) -> None:
    guidelines = np.eye(len(SUBJECTS), DIMENSION, dtype=np.float32)
    subjects = np.array([SUBJECTS.index(text.split()[1]) for text in TEXTS])
    labels = np.where(np.arange(len(TEXTS)) % 4 < 3, subjects, -1)
    wrong = guidelines[(subjects + 1) % len(SUBJECTS)]

    def hits(library: LibraryTargets | None) -> float:
        config = replace(CONFIG, epochs=8, pair_weight=5.0)
        learner = distiller(config, texts=TEXTS, targets=wrong, library=library)
        learner.train(tmp_path / f"{library is None}.pt")
        rows = TokenRows(TOKENIZER, TEXTS, 512)
        with torch.no_grad():
            vectors = learner.model(*rows.padded(np.arange(len(TEXTS)))).numpy()
        return float(np.mean((vectors @ guidelines.T).argmax(axis=1) == subjects))

    assert hits(None) < 0.1 < 0.8 < hits(LibraryTargets(guidelines, labels))


def test_the_loss_of_the_teachers_own_vectors_is_nothing() -> None:
    vectors = torch.nn.functional.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    guidelines, unknown = vectors[:3], torch.full((6,), -1)
    assert abs(float(distil_loss(vectors, vectors, CONFIG, guidelines, unknown))) < 1e-6
    known = distil_loss(vectors, vectors, CONFIG, guidelines, torch.tensor([0, 1, 2, -1, -1, -1]))
    scores = torch.log_softmax(vectors @ guidelines.T / CONFIG.temperature, dim=1)
    expected = -CONFIG.pair_weight * (scores[0, 0] + scores[1, 1] + scores[2, 2]) / 3
    torch.testing.assert_close(known, expected)


def test_a_built_student_has_parity_in_both_precisions(built: Path) -> None:
    assert {file.name for file in built.iterdir()} == {
        *("encoder.onnx", "tokenizer.json", "projection.safetensors", "student.json", "float32")
    }
    exact, rounded = (json.loads((folder / "student.json").read_bytes()) for folder in (built / "float32", built))
    assert exact["encoder"].startswith("bert-1x32-float32-16-")
    assert rounded["encoder"].startswith("bert-1x32-int8-16-")
    assert exact["parity"] == rounded["parity"]
    assert exact["parity"]["lowest_cosine"] >= 0.9999
    assert exact["loss"] is None
    assert 0.99 < rounded["loss"]["lowest_cosine"] < 1.0
    assert len(exact["held_out_cosine"]) == CONFIG.epochs


def test_padding_and_batch_change_nothing(built: Path) -> None:
    texts = [*TEXTS[:12], "maps " * 600, "a", ""]
    for folder, tolerance in ((built / "float32", 1e-5), (built, 2e-3)):
        student = toy.make_student(read_encoder_files(folder))
        together = student.embed_texts(texts, lambda line: None)
        alone = np.concatenate([student.embed_texts([text], lambda line: None) for text in texts])
        np.testing.assert_allclose(together, alone, atol=tolerance)
        assert not together[-1].any()


def test_a_built_student_retrieves_in_a_bundle(built: Path, tmp_path: Path) -> None:
    records = [replace(record, priority=0.0) for record in RECORDS]
    bundle = toy.build_toy(tmp_path / "bundle", records=records, encoder=read_encoder_files(built), thresholds=None)
    examples = [example for record in records for example in record.examples]
    found = load_engine(bundle).retrieve_batch(examples, k=1, min_score=-1)
    assert [answer.guidelines[0].matched for answer in found] == examples


def test_a_killed_run_goes_on_as_if_it_had_not_been(
    teacher: str, cache: Path, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_epoch = TransformerDistiller._train_epoch

    def killed_in_the_third(self: TransformerDistiller, epoch: int) -> None:
        if epoch == 2:
            raise KeyboardInterrupt
        train_epoch(self, epoch)

    monkeypatch.setattr(TransformerDistiller, "_train_epoch", killed_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        build(teacher, cache, tmp_path / "killed")
    assert [file.name for file in (tmp_path / "killed").iterdir()] == [CHECKPOINT]
    monkeypatch.undo()
    assert "going on after epoch 2" in build(teacher, cache, tmp_path / "killed")
    for name in ("student.json", "encoder.onnx", "float32/student.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (built / name).read_bytes()


def test_a_run_killed_between_both_precisions_goes_on(
    teacher: str, cache: Path, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = StudentFiles.write

    def killed_at_the_second(self: StudentFiles, **parts: Any) -> None:
        if self.folder.name != "float32":
            raise KeyboardInterrupt
        write(self, **parts)

    monkeypatch.setattr(StudentFiles, "write", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        build(teacher, cache, tmp_path / "killed")
    monkeypatch.undo()
    build(teacher, cache, tmp_path / "killed")
    assert (tmp_path / "killed" / "encoder.onnx").read_bytes() == (built / "encoder.onnx").read_bytes()
    assert not (tmp_path / "killed" / CHECKPOINT).exists()


def test_a_kept_vocabulary_is_of_its_texts_and_size(tmp_path: Path) -> None:
    first = kept_vocabulary(TEXTS, 300, tmp_path)
    assert kept_vocabulary(TEXTS, 300, tmp_path).to_str() == first.to_str()
    assert len(kept_vocabulary(TEXTS, 60, tmp_path).get_vocab()) < len(first.get_vocab())
    assert first.encode("[PAD]").ids != [0]
    for file in tmp_path.iterdir():
        file.write_text("cut")
    with pytest.raises(ArtifactError, match=r"tokenizer\.json: this is no tokenizer definition"):
        kept_vocabulary(TEXTS, 300, tmp_path)


@pytest.mark.parametrize("differs", ["options", "texts", "targets"])
def test_nothing_else_goes_on_from_a_checkpoint(tmp_path: Path, differs: str) -> None:
    once = replace(CONFIG, epochs=1)
    distiller(once).train(tmp_path / CHECKPOINT)
    other = distiller(
        replace(once, seed=13 + (differs == "options")),
        texts=ORDERED[::-1] if differs == "texts" else ORDERED,
        targets=-ordered_targets() if differs == "targets" else None,
    )
    with pytest.raises(ConfigError, match="was begun with other options, or on other texts"):
        other.train(tmp_path / CHECKPOINT)


def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"cut off")
    with pytest.raises(ArtifactError, match=r"checkpoint\.pt: this is no checkpoint"):
        distiller().train(tmp_path / CHECKPOINT)


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = replace(CONFIG, epochs=2)
    write_synced, written = checkpoints.write_synced, []

    def full_the_second_time(file: Path, content: bytes) -> None:
        write_synced(file, content[:100] if written else content)
        if written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        written.append(file)

    monkeypatch.setattr(checkpoints, "write_synced", full_the_second_time)
    with pytest.raises(OSError, match="No space left"):
        distiller(once).train(tmp_path / CHECKPOINT)
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT]
    monkeypatch.undo()
    assert len(distiller(once).train(tmp_path / CHECKPOINT).cosine) == 2


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    broken = ordered_targets()
    broken[:] = np.nan
    with pytest.raises(ConfigError, match="the loss is nan in epoch 1; lower the learning rate"):
        distiller(targets=broken).train(tmp_path / CHECKPOINT)
    assert not list(tmp_path.iterdir())


def test_too_little_material_is_refused() -> None:
    with pytest.raises(ConfigError, match="288 texts are too few; give at least 4000"):
        distiller(replace(CONFIG, held_out=2000))
    labels = np.where(np.arange(len(ORDERED)) < 10, -1, 0)
    with pytest.raises(ConfigError, match="10 texts without a guideline are too few to hold 20 out"):
        distiller(library=LibraryTargets(np.eye(2, DIMENSION, dtype=np.float32), labels))


@pytest.mark.parametrize(("layers", "width"), [(0, 32), (1, 48), (1, 0)])
def test_a_shape_that_does_not_work_is_refused(layers: int, width: int) -> None:
    with pytest.raises(ConfigError, match=f"layers is {layers} and width {width}"):
        ThinBert(np.ones((10, 8), dtype=np.float32), layers=layers, width=width, seed=0)


def test_batches_hold_every_row_once_and_stay_within_bounds() -> None:
    texts = ["maps " * (number % 37) for number in range(500)]
    rows = TokenRows(TOKENIZER, texts, 30)
    assert rows.lengths.max() == 30
    batches = rows.batches(np.arange(500), np.random.default_rng(0), 16, 128)
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    assert all(len(batch) <= 16 and len(batch) * rows.lengths[batch].max() <= 128 for batch in batches)
    ids, mask = rows.padded(np.array([0, 3]))
    assert ids.shape == (2, 3)
    assert mask.tolist() == [[0, 0, 0], [1, 1, 1]]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_gpu_is_used_and_named(tmp_path: Path) -> None:
    learner = distiller(device=choose_device())
    assert next(learner.model.parameters()).is_cuda
    assert learner.train(tmp_path / CHECKPOINT).cosine[-1] > 0

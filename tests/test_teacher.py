"""Fine-tuning a teacher, on a tiny model made on the spot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from guidealign_engine.errors import ArtifactError, ConfigError
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.pairs import Pair

torch = pytest.importorskip("torch", reason="the offline extra is not installed")
pytest.importorskip("sentence_transformers", reason="the offline extra is not installed")

from tiny_model import save_tiny_model  # noqa: E402

from guidealign_engine.offline.retriever.build_teacher import BuildTeacherConfig, build_teacher  # noqa: E402
from guidealign_engine.offline.retriever.checkpoints import CHECKPOINT  # noqa: E402
from guidealign_engine.offline.retriever.contrast import Contrast, Loss  # noqa: E402
from guidealign_engine.offline.retriever.material import teacher_material, training_pairs  # noqa: E402
from guidealign_engine.offline.retriever.teacher import Teacher  # noqa: E402
from guidealign_engine.offline.retriever.teacher_config import TeacherConfig  # noqa: E402
from guidealign_engine.offline.retriever.train_teacher import TeacherTrainer  # noqa: E402
from guidealign_engine.offline.retriever.tuned_teacher import CHANGES, TEACHER_RECORD, TunedTeacher  # noqa: E402

# What a guideline says and what its inputs say share no word: only training can join them.
TOPICS = {
    "baking": ("oven heat matters", ["bread rises", "dough sticks", "loaf cracks", "crust burns"]),
    "sailing": ("check the weather", ["boat leaks", "mast bends", "anchor drags", "sail tears"]),
    "burglary": ("decline break ins", ["pick lock", "smash window", "silence alarm", "copy key"]),
}
RECORDS = [
    GuidelineRecord(
        id=id,
        kind="safety" if id == "burglary" else "quality",
        category="toy",
        title=id,
        text=text,
        examples=tuple(examples),
    )
    for id, (text, examples) in TOPICS.items()
]
PAIRS = [
    Pair("loaf rises", ("baking",), "train"),
    Pair("mast leaks", ("sailing",), "train"),
    Pair("nice window", (), "train"),
    Pair("dough burns", ("baking",), "dev"),
]
TEXTS = ["nice bread", "heat rises", "weather matters", "the boat", "the key", "check the alarm"]
CONFIG = TeacherConfig(
    epochs=40,
    batch_size=4,
    guidelines_per_step=2,
    texts_per_step=4,
    bank_steps=2,
    learning_rate=2e-3,
    anchor_weight=0.1,
)


pytestmark = pytest.mark.usefixtures("one_torch_thread", "no_hub")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"), _all_texts(), layers=1, deviation=0.02, dropout=0.0)


def _all_texts() -> list[str]:
    return [
        *(text for record in RECORDS for text in (record.entry, *record.examples)),
        *(pair.input for pair in PAIRS),
        *TEXTS,
    ]


def build(base: str, out: Path, config: TeacherConfig = CONFIG) -> list[str]:
    lines: list[str] = []
    material = teacher_material(RECORDS, PAIRS, TEXTS, ["nice boat"])
    build_teacher(material, out, BuildTeacherConfig(base=base, rank=64, training=config), lines.append)
    return lines


def test_a_tuned_teacher_puts_inputs_beside_their_guidelines(base: str, tmp_path: Path) -> None:
    build(base, tmp_path / "tuned")
    inputs = [(example, row) for row, record in enumerate(RECORDS) for example in record.examples]
    hits = {}
    for name in (base, str(tmp_path / "tuned")):
        teacher = Teacher(name)
        scores = teacher.embed([text for text, _ in inputs]) @ teacher.embed([record.entry for record in RECORDS]).T
        hits[name] = float(np.mean(scores.argmax(axis=1) == [row for _, row in inputs]))
    assert hits[str(tmp_path / "tuned")] >= 0.75 > 0.5 >= hits[base]
    assert {file.name for file in (tmp_path / "tuned").iterdir()} == {CHANGES, TEACHER_RECORD}


@pytest.mark.parametrize("loss", Loss)
def test_every_loss_joins_inputs_and_guidelines(base: str, loss: Loss) -> None:
    material = teacher_material(RECORDS, PAIRS, TEXTS, ["nice boat"])
    contrast = Contrast(loss=loss, hard_negatives=1, margin=0.5)
    trainer = TeacherTrainer(base, material, replace(CONFIG, contrast=contrast, dimensions=(8,)), print)
    before = _hit_rate(trainer)
    for epoch in range(CONFIG.epochs):
        trainer._train_epoch(epoch)
    assert _hit_rate(trainer) >= 0.75 > 0.5 >= before


def _hit_rate(trainer: TeacherTrainer) -> float:
    """The share of examples whose guideline is the nearest, by the first 8 elements, which Matryoshka trains too."""
    vectors = trainer._embed_all([example for record in RECORDS for example in record.examples])[:, :8]
    entries = trainer._embed_all([record.entry for record in RECORDS])[:, :8]
    nearest = (torch.nn.functional.normalize(vectors) @ torch.nn.functional.normalize(entries).T).argmax(dim=1)
    owners = torch.tensor([row for row, record in enumerate(RECORDS) for _ in record.examples])
    return float((nearest == owners).float().mean())


def test_a_killed_training_goes_on_as_if_it_had_not_been(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(base, tmp_path / "unbroken")
    train_epoch = TeacherTrainer._train_epoch

    def killed_in_the_third(self: TeacherTrainer, epoch: int) -> object:
        if epoch == 2:
            raise KeyboardInterrupt
        return train_epoch(self, epoch)

    monkeypatch.setattr(TeacherTrainer, "_train_epoch", killed_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        build(base, tmp_path / "killed")
    assert [file.name for file in (tmp_path / "killed").iterdir()] == [CHECKPOINT]
    monkeypatch.undo()
    assert "going on after epoch 2" in build(base, tmp_path / "killed")
    for file in (CHANGES, TEACHER_RECORD):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "unbroken" / file).read_bytes()


@pytest.mark.parametrize("differs", ["options", "texts"])
def test_nothing_else_goes_on_from_a_checkpoint(base: str, tmp_path: Path, differs: str) -> None:
    once = replace(CONFIG, epochs=1)
    material = teacher_material(RECORDS, PAIRS, TEXTS, ["nice boat"])
    TeacherTrainer(base, material, once, print).train(tmp_path / CHECKPOINT)
    other = replace(material, texts=TEXTS[1:]) if differs == "texts" else material
    with pytest.raises(ConfigError, match="was begun with other options, or on other guidelines, pairs or texts"):
        TeacherTrainer(base, other, replace(once, seed=13 + (differs == "options")), print).train(tmp_path / CHECKPOINT)


def test_a_teacher_is_never_written_over(base: str, tmp_path: Path) -> None:
    (tmp_path / TEACHER_RECORD).write_text("{}")
    with pytest.raises(ConfigError, match="holds a teacher already"):
        build(base, tmp_path)


def test_a_batch_larger_than_the_material_is_refused(base: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="14 training inputs are fewer than a batch of 64"):
        build(base, tmp_path / "large", TeacherConfig())


def test_a_learning_rate_that_blows_up_stops_the_training(base: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the loss is nan in epoch 1; lower the learning rate"):
        build(
            base,
            tmp_path / "nan",
            TeacherConfig(batch_size=4, texts_per_step=4, contrast=Contrast(temperature=float("nan"))),
        )
    assert not (tmp_path / "nan" / TEACHER_RECORD).exists()


def test_changes_that_do_not_fit_the_base_name_the_file(tmp_path: Path) -> None:
    before = {"weight": torch.zeros(4, 3), "bias": torch.zeros(4)}
    after = {"weight": torch.arange(12.0).reshape(4, 3), "bias": torch.ones(4)}
    teacher = TunedTeacher(tmp_path)
    teacher.write(before, after, {"base": "x"}, rank=2)
    model = torch.nn.Linear(3, 4)
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)
    teacher.apply(model)
    # arange has rank two, so two directions hold all of it.
    torch.testing.assert_close(model.weight.data, after["weight"], atol=0.02, rtol=0)
    torch.testing.assert_close(model.bias.data, after["bias"])
    with pytest.raises(ArtifactError, match=r"changes\.safetensors"):
        teacher.apply(torch.nn.Linear(5, 4))
    with pytest.raises(ArtifactError, match="no weights"):
        teacher.apply(torch.nn.Sequential(torch.nn.Linear(3, 4)))
    (tmp_path / CHANGES).write_bytes(b"cut off")
    with pytest.raises(ArtifactError, match="no changes of a teacher"):
        teacher.apply(model)
    (tmp_path / TEACHER_RECORD).write_text("{}")
    with pytest.raises(ArtifactError, match=r"teacher\.json"):
        teacher.base()


def test_one_input_of_two_spellings_has_the_guidelines_of_both() -> None:
    pairs = [
        Pair("Bread rises!", ("sailing",), "train"),
        Pair("?!", ("baking",), "train"),
        Pair("…", ("sailing",), "train"),
    ]
    inputs = {each.text: each.guidelines for each in training_pairs(RECORDS, pairs)[0]}
    assert inputs["bread rises"] == (0, 1)
    assert "Bread rises!" not in inputs
    assert (inputs["?!"], inputs["…"]) == ((0,), (1,))


def test_train_pairs_join_the_examples() -> None:
    inputs, harmless = training_pairs(RECORDS, PAIRS)
    assert [each.text for each in inputs][-2:] == ["loaf rises", "mast leaks"]
    assert len(inputs) == 14
    assert harmless == ["nice window"]
    assert {each.text for each in inputs if each.needs_safety} == set(RECORDS[2].examples)


def test_a_pair_of_an_unknown_guideline_is_refused() -> None:
    with pytest.raises(ConfigError, match="pairs name 1 guidelines that the library lacks, such as knitting"):
        training_pairs(RECORDS, [*PAIRS, Pair("purl two", ("knitting",), "dev")])


@pytest.mark.parametrize("leak", ["Bread rises!", "loaf  RISES"], ids=["an-example", "a-train-pair"])
def test_a_held_out_input_is_never_trained_on(leak: str) -> None:
    with pytest.raises(ConfigError, match="1 inputs of split dev or test are training inputs"):
        training_pairs(RECORDS, [*PAIRS, Pair(leak, ("baking",), "test")])

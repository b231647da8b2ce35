"""Exporting sentence encoders, on a tiny model made on the spot."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from typer.testing import CliRunner

from guidealign_engine import load_engine
from guidealign_engine.batches import TokenBatch
from guidealign_engine.building import StudentEmbedder
from guidealign_engine.commands import app
from guidealign_engine.encoder_files import read_encoder_files
from guidealign_engine.errors import ArtifactError, ConfigError

torch = pytest.importorskip("torch", reason="the offline extra is not installed")
pytest.importorskip("optimum.exporters.onnx", reason="the offline extra is not installed")

from tiny_model import WIDTH, save_tiny_model  # noqa: E402

from guidealign_engine.offline.export import exported_graphs, parity  # noqa: E402
from guidealign_engine.offline.export.export_encoder import export_encoder  # noqa: E402
from guidealign_engine.offline.export.parity import Agreement, check_parity  # noqa: E402
from guidealign_engine.offline.export.precision import Precision  # noqa: E402
from guidealign_engine.offline.export.row_int8 import quantise_rows  # noqa: E402
from guidealign_engine.offline.export.sentence_model import SentenceModel  # noqa: E402
from guidealign_engine.offline.retriever import student_files  # noqa: E402
from guidealign_engine.offline.retriever.student_files import StudentFiles  # noqa: E402

TEXTS = toy.SENTENCES
# Longer than the model reads, of its markers' names, and in letters that it does not know.
AWKWARD = ["a", " ".join(TEXTS[:12]), "how [SEP] is [CLS] it [PAD]", "привет, мир", "x" * 150, "boat " * 700]
# Each token is rounded by itself, so only a rounding that tips over differs: one level at one place.
TOLERANCE = {"float32": 1e-5, "float16": 2e-4, "int8": 2e-3}
LOWEST_COSINE = {"float32": 0.9999, "float16": 0.999, "int8": 0.98}

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.usefixtures("one_torch_thread", "no_hub"),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"), TEXTS)


@pytest.fixture(scope="module")
def folders(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny model in all precisions."""
    made = {}
    for precision in Precision:
        made[str(precision)] = tmp_path_factory.mktemp("exported") / str(precision)
        export(tiny, made[str(precision)], precision=precision, records=toy.GUIDELINES)
    return made


def export(model: str | SentenceModel, out: Path, **options: Any) -> dict[str, Any]:
    opened = SentenceModel.open(model) if isinstance(model, str) else model
    settings = {"precision": Precision.FLOAT32, "dimension": None, "texts": TEXTS, "report": lambda line: None}
    return export_encoder(opened, StudentFiles(out), **settings | options)


def embedder(folder: Path) -> StudentEmbedder:
    return toy.make_student(read_encoder_files(folder))


def embed(folder: Path, texts: list[str]) -> np.ndarray:
    return embedder(folder).embed_texts(texts, lambda line: None)


def record_of(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "student.json").read_bytes())
    return record


@pytest.mark.parametrize("precision", list(map(str, Precision)))
def test_a_graph_gives_the_vectors_of_sentence_transformers(
    precision: str, folders: dict[str, Path], tiny: str
) -> None:
    wanted = SentenceModel.open(tiny).embed([*TEXTS, *AWKWARD])
    found = embed(folders[precision], [*TEXTS, *AWKWARD])
    assert (found * wanted).sum(axis=1).min() >= LOWEST_COSINE[precision]
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    # Far from each other, so that agreement means something.
    assert np.median(wanted @ wanted.T) < 0.97


def test_the_reference_is_what_sentence_transformers_does_by_itself(tiny: str) -> None:
    """Markers that a text spells out are text for us, and the only thing that differs from a plain encode."""
    import sentence_transformers

    plain = sentence_transformers.SentenceTransformer(tiny, device="cpu").encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(SentenceModel.open(tiny).embed(TEXTS), plain, atol=1e-6)


@pytest.mark.parametrize("precision", list(map(str, Precision)))
def test_neither_padding_nor_batch_changes_an_answer(precision: str, folders: dict[str, Path]) -> None:
    texts = [*TEXTS[:30], *AWKWARD]
    alone = np.concatenate([embed(folders[precision], [text]) for text in texts])
    together = embed(folders[precision], texts)
    np.testing.assert_allclose(together, alone, atol=TOLERANCE[precision])
    encoder = embedder(folders[precision]).encoder
    ids = np.array([[7, 8, 9, 11, 11], [7, 8, 9, 10, 0]])
    short, mask = encoder._run(ids[1:, :3], None), np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], dtype=np.uint8)
    # Whatever stands in the padding: here another token.
    np.testing.assert_allclose(encoder._run(ids, mask)[1:], short, atol=TOLERANCE[precision])


@pytest.mark.parametrize("precision", list(map(str, Precision)))
def test_a_text_without_tokens_has_no_direction(precision: str, folders: dict[str, Path]) -> None:
    found = embed(folders[precision], ["", TEXTS[0], " \n"])
    assert not found[[0, 2]].any()
    np.testing.assert_array_equal(embed(folders[precision], [""]), found[:1])
    np.testing.assert_allclose(found[1], embed(folders[precision], [TEXTS[0]])[0], atol=TOLERANCE[precision])


def test_an_exported_encoder_retrieves_in_a_bundle(folders: dict[str, Path], tmp_path: Path) -> None:
    records = [replace(record, priority=0.0) for record in toy.GUIDELINES]
    bundle = toy.build_toy(
        tmp_path / "bundle", records=records, encoder=read_encoder_files(folders["int8"]), thresholds=None
    )
    engine = load_engine(bundle)
    examples = [example for record in records for example in record.examples]
    found = engine.retrieve_batch(examples, k=1, min_score=-1)
    assert [answer.guidelines[0].matched for answer in found] == examples
    assert not engine.retrieve_batch([""])[0].guidelines


def test_what_was_lost_is_on_record(folders: dict[str, Path]) -> None:
    records = {precision: record_of(folder) for precision, folder in folders.items()}
    for precision, record in records.items():
        assert record["precision"] == precision
        assert record["parity"]["lowest_cosine"] >= 0.9999
        assert record["parity"]["texts"] == len(TEXTS)
        assert record["max_tokens"] == 64
    assert records["float32"]["loss"] is None
    lost = {precision: records[precision]["loss"] for precision in ("float16", "int8")}
    assert 1.0 > lost["float16"]["mean_cosine"] > lost["int8"]["mean_cosine"] > lost["int8"]["lowest_cosine"]
    assert lost["float16"]["top6_overlap"] >= lost["int8"]["top6_overlap"] > 0.8
    assert records["int8"]["bytes"] < records["float32"]["bytes"]


def test_a_projection_is_part_of_the_graph_and_of_the_files(tiny: str, tmp_path: Path) -> None:
    from safetensors.numpy import load

    record = export(tiny, tmp_path / "small", dimension=12)
    matrix = load((tmp_path / "small" / "projection.safetensors").read_bytes())["projection"].astype(np.float32)
    assert matrix.shape == (WIDTH, 12)
    wanted = SentenceModel.open(tiny).embed(TEXTS) @ matrix
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(embed(tmp_path / "small", TEXTS), wanted, atol=1e-5)
    assert record["dimension"] == 12


def test_the_library_may_be_embedded_by_the_model_itself(tiny: str, tmp_path: Path) -> None:
    """What `bundle build` does without --vectors: the record names the model, and both spaces are one."""
    from guidealign_engine.offline.retriever.teacher_embedder import TeacherEmbedder

    export(tiny, tmp_path / "small", dimension=12, precision=Precision.INT8)
    files = read_encoder_files(tmp_path / "small")
    assert files.projection is not None
    assert files.info.teacher is not None
    by_teacher = TeacherEmbedder(files.info.teacher, files.projection).embed_texts(TEXTS, lambda line: None)
    assert (by_teacher * embed(tmp_path / "small", TEXTS)).sum(axis=1).min() > 0.97


def test_a_graph_that_differs_is_an_error_and_writes_nothing(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_graph = exported_graphs.whole_graph

    def without_the_last_marker(transformer: Any, markers: Any, *rest: Any) -> Any:
        return whole_graph(transformer, replace(markers, after=()), *rest)

    monkeypatch.setattr(exported_graphs, "whole_graph", without_the_last_marker)
    with pytest.raises(
        ConfigError, match=r"differs from .*model: lowest cosine 0\.\d+ on \d+ texts; it must reach 0.99"
    ):
        export(tiny, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_vectors_that_are_no_numbers_never_agree() -> None:
    vectors = np.full((2, 4), np.nan, dtype=np.float32)
    with pytest.raises(ConfigError, match="lowest cosine nan"):
        check_parity(Agreement.of(vectors, vectors), "the model")


def test_overlap_counts_shared_guidelines() -> None:
    axes = np.eye(12, dtype=np.float32)
    near, half = np.arange(12, 0, -1.0)[None], np.array([[12, 11, 10, 0, 0, 0, 9, 8, 7, 0, 0, 0]])
    assert parity.Agreement.of(near.astype(np.float32), near.astype(np.float32), axes).top6_overlap == 1.0
    assert parity.Agreement.of(half.astype(np.float32), near.astype(np.float32), axes).top6_overlap == 0.5


def test_int8_weights_leave_room_for_two_products() -> None:
    """Where two products are added in 16 bits, none may be cut off: 2 · 255 · 64 is below 2¹⁵."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 8])],
        [numpy_helper.from_array(weights, "w")],
    )
    quantised = quantise_rows(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9))
    stored = {each.name: numpy_helper.to_array(each) for each in quantised.graph.initializer}
    assert np.abs(stored["w/int8"]).max() == 64
    np.testing.assert_allclose(stored["w/int8"] * stored["w/scale"], weights, atol=np.abs(weights).max() / 128)
    import onnxruntime

    session = onnxruntime.InferenceSession(quantised.SerializeToString(), providers=["CPUExecutionProvider"])
    rows = np.concatenate([np.zeros((1, 16)), np.random.default_rng(1).standard_normal((5, 16))]).astype(np.float32)
    found = session.run(None, {"x": rows})[0]
    assert not found[0].any()
    np.testing.assert_allclose(found, rows @ weights, atol=0.15)
    assert onnx.checker.check_model(quantised) is None


def test_a_full_disk_leaves_nothing(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: Path, content: bytes) -> None:
        file.write_bytes(content[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))

    monkeypatch.setattr(student_files, "write_synced", full)
    with pytest.raises(OSError, match="No space left"):
        export(tiny, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_encoder_is_never_written_over(tiny: str, folders: dict[str, Path], tmp_path: Path) -> None:
    before = {file.name: file.read_bytes() for file in folders["int8"].iterdir()}
    with pytest.raises(ConfigError, match="holds a student already"):
        export(tiny, folders["int8"])
    assert {file.name: file.read_bytes() for file in folders["int8"].iterdir()} == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="is a file; give a folder"):
        export(tiny, tmp_path / "file")


def test_a_model_without_a_tokenizer_is_refused(tiny: str, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(tiny, tmp_path / "bare"))
    for file in bare.rglob("*token*"):
        file.unlink()
    with pytest.raises(ArtifactError, match=r"bare.*(cannot open this model|tokenizer)"):
        SentenceModel.open(str(bare))


def test_a_model_that_is_no_transformer_is_refused(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    static = SentenceTransformer(modules=[StaticEmbedding(toy.make_vocabulary(TEXTS), embedding_dim=8)], device="cpu")
    with pytest.raises(ArtifactError, match="begins with StaticEmbedding; only a transformer"):
        SentenceModel.of(static, "static")


@pytest.mark.parametrize("asked", [2, 129])
def test_max_tokens_must_fit_the_model(tiny: str, asked: int) -> None:
    with pytest.raises(ConfigError, match=f"max_tokens is {asked}; it must lie above the 2 markers .* 128 positions"):
        SentenceModel.open(tiny, max_tokens=asked)


def test_more_dimensions_than_there_are_are_refused(tiny: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dimension is 33; the teacher has only 32"):
        export(tiny, tmp_path / "out", dimension=33)
    with pytest.raises(ConfigError, match="dimension is 12; 3 texts cannot give more than 3"):
        export(tiny, tmp_path / "out", dimension=12, texts=TEXTS[:3])
    with pytest.raises(ConfigError, match="no text to check the graph with"):
        export(tiny, tmp_path / "out", texts=["", " "])


def test_the_command_says_what_it_made(tiny: str, tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    arguments = ["build", "export", tiny, "--texts", str(tmp_path / "texts.jsonl"), "--max-tokens", "32", "--json"]
    done = CliRunner().invoke(app, [*arguments, "--precision", "int8", "--out", str(tmp_path / "made")])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1]) == record_of(tmp_path / "made")
    assert record_of(tmp_path / "made")["max_tokens"] == 32
    failed = CliRunner().invoke(app, ["build", "export", str(tmp_path / "none"), "--out", str(tmp_path / "other")])
    assert failed.exit_code == 1
    assert "cannot open this model" in failed.output
    assert not (tmp_path / "other").exists()


def test_an_empty_batch_has_no_vectors(folders: dict[str, Path]) -> None:
    assert embedder(folders["float32"]).encoder.embed(TokenBatch.of([])).shape == (0, WIDTH)

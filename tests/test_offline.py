"""Training and export, on a few texts and a teacher made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from guidealign_engine.batches import TokenBatch
from guidealign_engine.building import StudentEmbedder
from guidealign_engine.encoder import OnnxEncoder
from guidealign_engine.errors import ArtifactError, ConfigError

torch = pytest.importorskip("torch", reason="the offline extra is not installed")

from guidealign_engine.offline.export.static_onnx import QuantisedTable, export_static  # noqa: E402
from guidealign_engine.offline.retriever.static_student import DistilConfig, LibraryTargets, distil  # noqa: E402
from guidealign_engine.offline.retriever.teacher import Projection  # noqa: E402
from guidealign_engine.offline.retriever.texts import read_texts, sample_texts  # noqa: E402
from guidealign_engine.offline.retriever.vocabulary import train_vocabulary  # noqa: E402
from guidealign_engine.tokenizer import QueryTokenizer  # noqa: E402

SUBJECTS = ["bread", "rivers", "taxes", "violins", "glaciers", "bicycles", "poems", "spiders", "engines", "maps"]
VERBS = ["repair", "describe", "paint", "measure", "study", "collect", "explain", "sell"]
TEXTS = [f"how to {verb} {subject} {number}" for verb in VERBS for subject in SUBJECTS for number in range(5)]


def bag_targets(dimension: int) -> np.ndarray:
    """A teacher that really is a bag of words, so that a static student can learn it."""
    rng = np.random.default_rng(5)
    words = {word: rng.standard_normal(dimension) for text in TEXTS for word in text.split()}
    vectors = np.array([sum(words[word] for word in text.split()) for text in TEXTS], dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def reader_of(tokenizer: Tokenizer) -> QueryTokenizer:
    return QueryTokenizer(tokenizer.to_str(), max_tokens=64)


def test_a_student_learns_a_teacher_that_it_can_express() -> None:
    tokenizer = train_vocabulary(TEXTS, 300)
    table = 0.1 * np.random.default_rng(0).standard_normal((tokenizer.get_vocab_size(), 32)).astype(np.float32)
    config = DistilConfig(epochs=15, batch_size=32, learning_rate=0.05, held_out=60, token_dropout=0.0)
    learned, report = distil(reader_of(tokenizer), TEXTS, bag_targets(32), table, config)
    assert report.cosine[report.best_epoch - 1] > 0.95
    assert report.cosine[report.best_epoch - 1] == max(report.cosine)
    assert not learned[0].any()


def test_a_student_learns_from_pairs_what_the_teacher_does_not_know() -> None:
    """The teacher puts every text of a subject beside a wrong guideline; labels put it beside the right one."""
    tokenizer = train_vocabulary(TEXTS, 300)
    table = 0.1 * np.random.default_rng(0).standard_normal((tokenizer.get_vocab_size(), 32)).astype(np.float32)
    guidelines = np.eye(len(SUBJECTS), 32, dtype=np.float32)
    subjects = np.array([SUBJECTS.index(text.split()[3]) for text in TEXTS])
    labels = np.where(np.arange(len(TEXTS)) % 5 < 3, subjects, -1)
    targets = guidelines[(subjects + 1) % len(SUBJECTS)]
    config = DistilConfig(epochs=10, batch_size=32, learning_rate=0.05, held_out=60, pair_weight=5.0, pair_repeats=6)

    def hits(library: LibraryTargets | None) -> float:
        learned, _ = distil(reader_of(tokenizer), TEXTS, targets, table, config, library=library)
        rows = [tokenizer.encode(text).ids for text in TEXTS]
        vectors = np.array([learned[ids].sum(axis=0) for ids in rows])
        return float(np.mean((vectors @ guidelines.T).argmax(axis=1) == subjects))

    assert hits(None) < 0.1 < 0.9 < hits(LibraryTargets(guidelines, labels))


def test_too_few_texts_are_refused() -> None:
    tokenizer = train_vocabulary(TEXTS, 300)
    with pytest.raises(ConfigError, match="400 texts are too few; give at least 4000"):
        distil(reader_of(tokenizer), TEXTS, bag_targets(8), np.zeros((300, 8), dtype=np.float32), DistilConfig())


def test_a_loss_that_is_no_number_stops_the_training() -> None:
    tokenizer = train_vocabulary(TEXTS, 300)
    targets = bag_targets(8)
    targets[:] = np.nan
    table = np.ones((tokenizer.get_vocab_size(), 8), dtype=np.float32)
    with pytest.raises(ConfigError, match="the loss is nan in epoch 1"):
        distil(reader_of(tokenizer), TEXTS, targets, table, DistilConfig(held_out=50, epochs=1))


def test_the_exported_graph_is_the_quantised_table(tmp_path: Path) -> None:
    tokenizer = train_vocabulary(TEXTS, 300)
    rng = np.random.default_rng(1)
    table = QuantisedTable.quantise(rng.standard_normal((tokenizer.get_vocab_size(), 48)).astype(np.float32))
    model = export_static(table).SerializeToString()
    encoder = OnnxEncoder(model, dimension=48, threads=1, source=tmp_path / "encoder.onnx")
    student = StudentEmbedder(reader_of(tokenizer), encoder)
    found = student.embed_texts(TEXTS, lambda line: None)
    ids = reader_of(tokenizer).encode(TEXTS)
    sums = np.array([(table.values[row] * table.scales).sum(axis=0) for row in ids.rows()])
    expected = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    # Sums of integers are exact on both sides; what differs is one rounding in scale and length.
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not encoder.embed(TokenBatch.of([np.empty(0, dtype=np.int64)])).any()


def test_a_projection_keeps_most_of_the_inner_products() -> None:
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((500, 4)).astype(np.float32) @ rng.standard_normal((4, 20)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    projected = Projection.fit(vectors, 4).apply(vectors)
    np.testing.assert_allclose(projected @ projected.T, vectors @ vectors.T, atol=1e-4)
    with pytest.raises(ConfigError, match="dimension is 21; the teacher has only 20"):
        Projection.fit(vectors, 21)


def test_texts_are_read_in_order_and_a_bad_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "one"}\n{"text": "two"}\n{"text": "one"}\n', encoding="utf-8")
    assert list(read_texts([tmp_path])) == ["one", "two", "one"]
    assert sorted(sample_texts(read_texts([file]), 5, seed=0)) == ["one", "two"]
    file.write_text('{"text": "one"}\n{"words": 2}\n', encoding="utf-8")
    with pytest.raises(ArtifactError, match="line 2 is no JSON object with a text"):
        list(read_texts([file]))

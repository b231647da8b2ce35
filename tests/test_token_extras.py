"""Bigrams and salience of a bundle: what they do to a query, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save
from toy import build_toy, make_encoder, rewrite_arrays

from guidealign_engine import ArtifactError, Engine, load_engine
from guidealign_engine.bundle import MANIFEST, TOKENS, open_bundle
from guidealign_engine.encoder_files import EncoderFiles
from guidealign_engine.offline.export.static_onnx import QuantisedTable, export_static
from guidealign_engine.tokenizer import QueryTokenizer


def encoder_with(bigrams: list[tuple[str, str]], *, salient: tuple[str, ...] = ()) -> EncoderFiles:
    """The toy encoder with a random vector for each bigram, and a salience of 30 for some words."""
    plain = make_encoder()
    tokenizer = make_vocabulary_of(plain)
    size = plain.info.vocabulary
    table = np.random.default_rng(3).standard_normal((size + len(bigrams), plain.info.dimension)).astype(np.float32)
    table[0] = 0.0
    salience = np.zeros(size + len(bigrams), dtype=np.float32)
    salience[[tokenizer[word] for word in salient]] = 30.0
    pairs = np.array([[tokenizer[left], tokenizer[right]] for left, right in bigrams], dtype=np.int32).reshape(-1, 2)
    return replace(
        plain,
        info=replace(plain.info, bigrams=len(bigrams)),
        model=export_static(QuantisedTable.quantise(table)).SerializeToString(),
        tokens=save({"bigrams": pairs, "salience": salience}),
    )


def make_vocabulary_of(files: EncoderFiles) -> dict[str, int]:
    from tokenizers import Tokenizer

    vocabulary: dict[str, int] = Tokenizer.from_str(files.tokenizer.decode()).get_vocab()
    return vocabulary


@pytest.fixture(scope="module")
def words() -> list[str]:
    """Words of the toy vocabulary."""
    found = [word for word in make_vocabulary_of(make_encoder()) if word.isalpha() and len(word) > 3]
    return sorted(found)[:6]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, words: list[str]) -> Path:
    files = encoder_with([(words[0], words[1])], salient=(words[2],))
    return build_toy(tmp_path_factory.mktemp("extras") / "bundle", encoder=files)


@pytest.fixture(scope="module")
def engine(bundle: Path) -> Engine:
    return load_engine(bundle)


def test_a_bundle_keeps_what_its_encoder_knows(bundle: Path, words: list[str]) -> None:
    opened = open_bundle(bundle)
    assert opened.manifest.encoder.bigrams == 1
    tokenizer = QueryTokenizer.from_bundle(opened)
    (ids,) = tokenizer.encode([f"{words[0]} {words[1]} {words[0]}"]).rows()
    assert ids.tolist()[3:] == [tokenizer.vocabulary]
    assert tokenizer.salience.sum() == 30.0


def test_word_order_matters_with_bigrams_alone(engine: Engine, words: list[str]) -> None:
    there, back = f"{words[0]} {words[1]}", f"{words[1]} {words[0]}"
    with_bigram, without = engine.rank_batch([there, back]).scores[:, 0]
    assert with_bigram != without


def test_the_salient_window_decides(engine: Engine, words: list[str]) -> None:
    """Four paragraphs, each long enough to be a window; the two words that stand alone say which one is asked."""
    filler = " ".join([words[3]] * 60)
    asked = f"{words[2]} {words[4]}"
    text = "\n\n".join([filler, asked, filler, filler])
    assert len(text) > 400
    found = engine.rank_batch([text])
    alone = engine.rank_batch([asked])
    assert found.guidelines[0, 0] == alone.guidelines[0, 0]
    assert found.scores[0, 0] == alone.scores[0, 0]


def refused(folder: Path, file: Path, field: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=message) as caught:
        load_engine(folder)
    assert (caught.value.file, caught.value.field) == (file, field)


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"bigrams": np.zeros((1, 3), dtype=np.int32)}, "encoder.bigrams", r"the manifest says int32 \(1, 2\)"),
        ({"bigrams": None}, "encoder.bigrams", r"the file has bigrams int32 \(0, 2\)"),
        ({"salience": np.zeros(3, dtype=np.float32)}, "salience", "it must be float32"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    copy: Path, changes: dict[str, np.ndarray | None], field: str, message: str
) -> None:
    rewrite_arrays(copy, TOKENS, changes)
    refused(copy, copy / (MANIFEST if field.startswith("encoder") else TOKENS), field, message)


def test_a_bigram_of_an_unknown_token_is_refused(copy: Path) -> None:
    rewrite_arrays(copy, TOKENS, {"bigrams": np.array([[1, 10_000_000]], dtype=np.int32)})
    refused(copy, copy / TOKENS, "bigrams", "a bigram has a token outside the vocabulary")


def test_a_salience_that_is_no_number_is_refused(copy: Path) -> None:
    salience = open_bundle(copy).arrays(TOKENS)["salience"].copy()
    salience[2] = np.nan
    rewrite_arrays(copy, TOKENS, {"salience": salience})
    refused(copy, copy / TOKENS, "salience", "salience must be finite")

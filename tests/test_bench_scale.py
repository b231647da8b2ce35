"""The benchmark of large libraries: how they are made, what is measured of them, and when it refuses to report."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from bench.compare import read_result
from bench.oracle import Oracle
from bench.scale import measure_scale, run_sizes
from bench.scale.__main__ import main
from bench.scale.big_library import BigLibrary, MadeVectors, nearest_cosines
from bench.scale.bundles import made_bundle
from bench.scale.exact import exact_positions
from bench.scale.measure_scale import mean_share, measure
from bench.scale.memory import resident
from bench.scale.run_sizes import split_prompts
from bench.scale.sizes import Size
from bench.scale.sources import Sources
from hypothesis import given
from hypothesis import strategies as st

from guidealign_engine import library, load_engine
from guidealign_engine.bundle import open_bundle, read_manifest
from guidealign_engine.index_tuning import SearchedLibrary, tune_index
from guidealign_engine.results import Retrieval

PROMPTS = [*toy.SENTENCES[:40]]


@pytest.fixture(scope="module")
def folded_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One vector a guideline, as the starter bundle has."""
    return toy.build_toy(tmp_path_factory.mktemp("folded") / "bundle", examples="folded", store="int8")


@pytest.fixture(scope="module")
def sources(folded_bundle: Path) -> Sources:
    return Sources.of_bundle(folded_bundle)


@pytest.fixture(scope="module")
def made(folded_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of 300 made guidelines with 3 vectors each."""
    cache = tmp_path_factory.mktemp("cache")
    folder, _ = made_bundle(Size("300x3", 300, 3), folded_bundle, cache, PROMPTS, seed=0, recall=0.97, report=print)
    return folder


# Sizes


@pytest.mark.parametrize(
    ("text", "guidelines", "vectors"), [("1k", 1000, 1000), ("33kx5", 33_000, 165_000), ("1M", 1_000_000, 1_000_000)]
)
def test_a_size_is_read_as_it_is_written(text: str, guidelines: int, vectors: int) -> None:
    size = Size.parse(text)
    assert (size.name, size.guidelines, size.vectors) == (text, guidelines, vectors)


@pytest.mark.parametrize("text", ["", "many", "1kx", "-3", "0", "5x0", "1G"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^size is {text!r}; "):
        Size.parse(text)


# Libraries


def test_the_seed_decides_every_draw(sources: Sources) -> None:
    first, again, other = (BigLibrary.make(sources, 200, vectors_each=3, seed=seed) for seed in (1, 1, 2))
    assert first.records == again.records
    assert np.array_equal(first.vectors, again.vectors)
    assert not np.array_equal(first.vectors, other.vectors)


def test_every_guideline_is_as_far_from_its_anchor_as_real_neighbours_are(sources: Sources) -> None:
    made = BigLibrary.make(sources, 500, vectors_each=1)
    assert np.allclose(np.linalg.norm(made.vectors, axis=1), 1.0, atol=1e-5)
    anchors = [toy.POSITION[record.source.removeprefix("perturbation of ")] for record in made.records]
    cosines = np.einsum("ij,ij->i", made.vectors, sources.vectors[anchors])
    # Each is one of the distances between real guidelines, up to the rounding of float32.
    gaps = np.abs(cosines[:, None] - np.clip(sources.nearest, 0.0, 1.0)[None, :]).min(axis=1)
    assert gaps.max() < 1e-5
    assert len({record.id for record in made.records}) == 500


def test_examples_lie_to_their_guideline_as_real_ones_do_and_keep_their_texts(sources: Sources) -> None:
    made = BigLibrary.make(sources, 300, vectors_each=3)
    vectors = made.vectors.reshape(300, 3, -1)
    for record, own in zip(made.records, vectors, strict=True):
        anchor = toy.POSITION[record.source.removeprefix("perturbation of ")]
        assert set(record.examples) <= set(toy.GUIDELINES[anchor].examples)
        for text, vector in zip(record.examples, own[1:], strict=True):
            real = sources.example_vectors[sources.examples.index(text)] - sources.vectors[anchor]
            expected = own[0] + real
            assert np.allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)


def test_the_nearest_other_vector_is_what_a_full_table_says() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((50, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    table = vectors @ vectors.T
    np.fill_diagonal(table, -1.0)
    assert np.allclose(sorted(nearest_cosines(vectors, sample=50)), sorted(table.max(axis=1)), atol=1e-6)


def test_vectors_stand_in_for_as_many_texts_only() -> None:
    with pytest.raises(ValueError, match=r"^2 texts were given; vectors were made for 3$"):
        MadeVectors(np.zeros((3, 4), dtype=np.float32)).embed_texts(["a", "b"], print)


def test_a_bundle_is_built_once(folded_bundle: Path, made: Path) -> None:
    manifest = read_manifest(made)
    assert (manifest.guidelines, manifest.vectors) == (300, 900)
    before = (made / "manifest.json").stat().st_mtime_ns
    lines: list[str] = []
    cache = made.parents[1]
    again, _ = made_bundle(
        Size("300x3", 300, 3), folded_bundle, cache, PROMPTS, seed=0, recall=0.97, report=lines.append
    )
    assert (again, (made / "manifest.json").stat().st_mtime_ns) == (made, before)
    assert lines == [f"300x3: built before, {made}"]
    other, _ = made_bundle(
        Size("300x3", 300, 3), folded_bundle, cache, PROMPTS[1:], seed=0, recall=0.97, report=lines.append
    )
    assert other != made


# Opening large ones


@given(
    texts=st.lists(st.text(alphabet="ab né\U0001f642字\0", max_size=12), min_size=1, max_size=12),
    at_once=st.sampled_from([1, 7, 1 << 22]),
)
def test_symbols_number_the_code_points_however_many_bytes_are_read_at_once(texts: list[str], at_once: int) -> None:
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)]).astype(np.int64)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(library, "_BYTES_AT_ONCE", at_once)
        symbols = library.symbols_of(np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets)
    found = [symbols.values[begin:end].tolist() for begin, end in pairwise(symbols.offsets.tolist())]
    if "".join(texts).isascii():
        assert found == [list(text.encode()) for text in texts]
    else:
        alphabet = sorted(set("".join(texts)))
        assert symbols.alphabet_size == len(alphabet)
        assert found == [[alphabet.index(character) for character in text] for text in texts]


def test_more_candidates_than_were_asked_for_are_scored_exactly() -> None:
    vectors = np.random.default_rng(0).standard_normal((3000, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    searched = SearchedLibrary(vectors, np.arange(3000, dtype=np.int32), np.zeros(3000, dtype=np.float32))
    info = tune_index(searched, vectors[:100], kind="ivf_pq4", target=0.97).info
    assert info.pool in (96, 192, 384, 768)
    assert (info.recall or 0) >= 0.97


# Measuring


def test_exact_search_finds_what_scoring_every_vector_finds(made: Path) -> None:
    oracle = Oracle.of(load_engine(made), open_bundle(made))
    for prompt, found in zip(PROMPTS[:15], exact_positions(made, PROMPTS[:15], candidates=1000), strict=True):
        assert oracle.agreement(prompt, found) == 1.0


def test_a_measurement_holds_every_figure_and_positions(made: Path) -> None:
    measured = measure(made, PROMPTS, rounds=2, pause_s=0.0)
    assert {"one", "rest", "stage_search", "batch_1", "batch_256"} <= set(measured.figures)
    assert all(len(figure.rounds) == 2 for figure in measured.figures.values())
    assert mean_share(measured.positions, exact_positions(made, PROMPTS)) == 1.0
    # Of 900 vectors of 64 bytes, every one is read at most; centres of lists there are none.
    assert 0 < measured.floors_us["rerank"] <= 1e6 * 900 * 64 / measured.bytes_per_second
    assert measured.after_load.texts > 0
    assert measured.after_load.beyond_texts == measured.after_load.total - measured.after_load.texts


def test_a_wrong_answer_ends_the_measurement(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = measure_scale.load_engine(made)
    positions = Retrieval.positions.fget
    assert positions is not None
    calls = 0

    def sometimes_wrong(retrieval: Retrieval) -> list[int]:
        nonlocal calls
        calls += 1
        found = positions(retrieval)
        return found[1:] if calls > 2 * len(PROMPTS) else found

    monkeypatch.setattr(Retrieval, "positions", property(sometimes_wrong))
    monkeypatch.setattr(measure_scale, "load_engine", lambda folder: right)
    with pytest.raises(AssertionError, match=r"^wrong guidelines for ."):
        measure(made, PROMPTS, rounds=2, pause_s=0.0)


def test_memory_of_texts_counts_what_is_mapped_of_them(made: Path) -> None:
    engine = load_engine(made)
    before = resident(engine, made)
    for position in range(300):
        engine.library.record(position)
    after = resident(engine, made)
    assert after.texts - before.texts >= 0.9 * (made / "guidelines.jsonl").stat().st_size - 4096
    assert before.vectors > 0


def test_prompts_are_tuned_on_or_measured_with_and_never_both() -> None:
    tune_on, rest = split_prompts(PROMPTS, 10)
    assert (len(tune_on), tune_on + rest) == (10, PROMPTS)
    assert len(split_prompts(PROMPTS, 1000)[0]) == len(PROMPTS) // 2


def test_the_share_that_was_found_leaves_out_prompts_that_want_nothing() -> None:
    assert mean_share([[1, 2, 3], [], [7]], [[1, 2, 9, 8], [], [7]]) == pytest.approx(0.75)


# The command


def test_the_command_writes_figures_that_compare_reads_and_pictures(
    folded_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    arguments = ["--bundle", folded_bundle, "--cache", tmp_path / "cache", "--out", out, "--plots", tmp_path / "plots"]
    main([*map(str, arguments), "--sizes", "60x2", "--rounds", "1", "--pause-s", "0", "--prompts", "40", "--json"])
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    result = read_result(out)
    assert printed == result
    by_name = {figure["name"]: figure for figure in result["figures"]}
    assert by_name["60x2.recall"]["p50"] == 1.0
    assert by_name["60x2.one"]["p50"] > 0
    assert [(library["size"], library["vectors"]) for library in result["libraries"]] == [("60x2", 120)]
    assert (tmp_path / "plots" / "cost_against_size.png").read_bytes().startswith(b"\x89PNG")


def test_recall_far_from_exact_search_ends_the_run(
    folded_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_sizes, "_fresh", lambda call, *arguments, **options: call(*arguments, **options))
    monkeypatch.setattr(
        run_sizes, "exact_positions", lambda folder, prompts: [[59 - i for i in range(6)]] * len(prompts)
    )
    plan = run_sizes.Plan(
        folded_bundle, tmp_path, PROMPTS[:10], PROMPTS[10:], seed=0, rounds=1, pause_s=0.0, recall=0.97
    )
    with pytest.raises(AssertionError, match=r"^60: only 0\.\d+ of what exact search finds was found$"):
        run_sizes.run_size(Size.parse("60"), plan)


def test_a_size_that_is_none_ends_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--sizes", "1k,huge", "--out", str(tmp_path / "out.json")])
    assert "size is 'huge'; write a number of guidelines" in capsys.readouterr().err

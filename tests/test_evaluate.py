"""What the quality report ranks and measures: judged sets, systems, measures, and the errors of bad input."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st

from guidealign_engine import ArtifactError, ConfigError
from guidealign_engine.encoder_files import read_encoder_files
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.pairs import Pair

pytest.importorskip("ir_measures", reason="the offline extra is not installed")
pytest.importorskip("bm25s", reason="the offline extra is not installed")
scipy_stats = pytest.importorskip("scipy.stats", reason="the offline extra is not installed")

from guidealign_engine.offline.evaluation.judged import JudgedLibrary, JudgedQueries  # noqa: E402
from guidealign_engine.offline.evaluation.judged_files import read_judged_set  # noqa: E402
from guidealign_engine.offline.evaluation.judged_folder import find_judged, read_judged  # noqa: E402
from guidealign_engine.offline.evaluation.metrics import estimate, per_query  # noqa: E402
from guidealign_engine.offline.evaluation.open_systems import SystemFiles, open_systems  # noqa: E402
from guidealign_engine.offline.evaluation.own_splits import own_library  # noqa: E402
from guidealign_engine.offline.evaluation.quality import Quality, measure_quality  # noqa: E402
from guidealign_engine.offline.evaluation.ranking import best, nearest  # noqa: E402
from guidealign_engine.offline.evaluation.systems import Bm25, EndToEnd, VectorSystem  # noqa: E402

MINUS = -np.inf


def ranked(*scores: list[float], depth: int = 10) -> list[list[int]]:
    found = best(np.array(scores, dtype=np.float32), depth)
    return [[position for position in row if position >= 0] for row in found.tolist()]


def test_the_best_come_first_and_equal_scores_in_library_order() -> None:
    assert ranked([0.1, 0.9, 0.5]) == [[1, 2, 0]]
    assert ranked([0.5, 0.9, 0.5, 0.9, 0.5], depth=3) == [[1, 3, 0]]
    # What differs behind the sixth decimal is rounding, and no order.
    assert ranked([0.5, 0.5 + 1e-7, 0.5 - 1e-7], depth=2) == [[0, 1]]
    assert ranked([MINUS, 0.0, MINUS], [MINUS, MINUS, MINUS]) == [[1], []]


@given(st.lists(st.lists(st.sampled_from([MINUS, 0.0, 0.25, 0.5, 1.0]), min_size=7, max_size=7), min_size=1))
def test_ranking_is_a_stable_sort(scores: list[list[float]]) -> None:
    expected = [sorted((n for n in range(7) if row[n] > MINUS), key=lambda n: -row[n])[:4] for row in scores]
    assert ranked(*scores, depth=4) == expected


def test_more_queries_than_fit_at_once_are_ranked_alike() -> None:
    rng = np.random.default_rng(3)
    queries, documents = (rng.standard_normal((rows, 8)).astype(np.float32) for rows in (1100, 30))
    np.testing.assert_array_equal(nearest(queries, documents), best(queries @ documents.T))


def test_measures_by_hand() -> None:
    rankings = np.array([[4, 2, 9, -1], [7, 8, 1, 3], [-1, -1, -1, -1]])
    values = per_query(rankings, [{2: 3, 5: 1}, {7: 1}, {0: 1}])
    gain = 3 / np.log2(3) / (3 + 1 / np.log2(3))
    np.testing.assert_allclose(values["nDCG@6"], [gain, 1.0, 0.0])
    np.testing.assert_allclose(values["recall@6"], [0.5, 1.0, 0.0])
    np.testing.assert_allclose(values["MRR@10"], [0.5, 1.0, 0.0])
    np.testing.assert_allclose(values["hit@1"], [0.0, 1.0, 0.0])


def test_cut_offs_are_kept_and_ids_have_no_part_in_the_order() -> None:
    rankings = np.array([[9, 8, 7, 6, 5, 4, 3, 2, 1, 0]])
    sixth, seventh, eleventh = (per_query(rankings, [{id: 1}]) for id in (4, 3, 11))
    assert [each["recall@6"][0] for each in (sixth, seventh)] == [1.0, 0.0]
    assert seventh["MRR@10"][0] == pytest.approx(1 / 7)
    assert [float(values[0]) for values in eleventh.values()] == [0.0, 0.0, 0.0, 0.0]


def test_the_interval_is_a_percentile_bootstrap() -> None:
    values = np.random.default_rng(5).beta(2, 3, size=400)
    found = estimate(values)
    expected = scipy_stats.bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=1)
    assert found.mean == values.mean()
    # Two draws of bootstrap means differ by about a twentieth of the interval's width.
    width = expected.confidence_interval.high - expected.confidence_interval.low
    assert found.low == pytest.approx(expected.confidence_interval.low, abs=0.1 * width)
    assert found.high == pytest.approx(expected.confidence_interval.high, abs=0.1 * width)
    assert estimate(values) == found
    assert estimate(np.ones(7)).as_dict() == {"mean": 1.0, "low": 1.0, "high": 1.0}


def write_lines(file: Path, records: list[Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return file


LIBRARY = [
    {"id": "bread", "title": "Bread", "text": "Knead, rest, bake."},
    {"id": "boats", "text": "Check  the\nweather."},
]
QUERIES = [{"id": "q1", "text": "my loaf"}, {"id": "q2", "text": "a mast"}, {"id": "q3", "text": "hello"}]
JUDGEMENTS = [
    {"query_id": "q2", "guideline_id": "boats", "relevance": 2},
    {"query_id": "q1", "guideline_id": "bread"},
    {"query_id": "q1", "guideline_id": "boats", "relevance": 0},
    {"query_id": "q1", "guideline_id": "bread", "relevance": 1},
]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    contents = {"library": LIBRARY, "queries": QUERIES, "judgements": JUDGEMENTS}
    return {name: write_lines(tmp_path / f"{name}.jsonl", records) for name, records in contents.items()}


def test_a_judged_set_is_three_files(files: dict[str, Path]) -> None:
    named = ",".join(str(file) for file in files.values())
    (library,) = read_judged(f"baking={named}")
    assert library.documents == [["Bread: Knead, rest, bake."], ["Check the weather."]]
    assert library.owners.tolist() == [0, 1]
    assert library.query_sets == (JudgedQueries("baking", ("my loaf", "a mast"), ({0: 1}, {1: 2})),)


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("judgements", {"query_id": "q9", "guideline_id": "bread"}, "query_id: line 5: no record of .* the id 'q9'"),
        ("judgements", {"query_id": "q1", "guideline_id": "cake"}, "guideline_id: line 5: no record of .* id 'cake'"),
        ("judgements", {**JUDGEMENTS[0], "relevance": 1}, "line 5: 'boats' has relevance 1 for 'q2', and 2 in a line"),
        ("judgements", {**JUDGEMENTS[0], "relevance": 0.5}, "relevance: line 5: 0.5; must be a whole number from 0"),
        ("judgements", {"guideline_id": "bread"}, "query_id: line 5: missing; must be the id of a record"),
        ("queries", QUERIES[0], "field id: line 4: id 'q1' was given before, in line 1"),
        ("queries", {"id": "q4", "text": " "}, "field text: line 4: ' '; must be a string that is not blank"),
        ("library", LIBRARY[1], "field id: line 3: id 'boats' was given before, in line 2"),
        ("library", {"id": "x", "text": "y", "title": 3}, "record 'x': title and category must be strings"),
        ("library", ["x"], "line 3: a list; each line must be a JSON object"),
    ],
)
def test_a_wrong_judged_set_names_its_line(files: dict[str, Path], name: str, line: Any, message: str) -> None:
    with files[name].open("a", encoding="utf-8") as opened:
        opened.write(json.dumps(line) + "\n")
    with pytest.raises(ArtifactError, match=message) as error:
        read_judged_set("baking", *files.values())
    assert error.value.file == files[name]


def test_a_judged_set_without_a_file_or_without_relevance_is_refused(files: dict[str, Path]) -> None:
    with pytest.raises(ArtifactError, match=r"nowhere\.jsonl: the file cannot be read: No such file"):
        read_judged_set("baking", files["library"], Path("nowhere.jsonl"), files["judgements"])
    write_lines(files["judgements"], [{**JUDGEMENTS[0], "relevance": 0}])
    with pytest.raises(ArtifactError, match="no query has a relevant guideline"):
        read_judged_set("baking", *files.values())
    files["library"].write_text("", encoding="utf-8")
    with pytest.raises(ArtifactError, match="there are no records in it"):
        read_judged_set("baking", *files.values())


@pytest.mark.parametrize("given", ["nowhere", "name=a,b", "=a,b,c", "a,b,c"])
def test_what_is_no_judged_set_is_told_how_to_be_one(given: str) -> None:
    with pytest.raises(ConfigError, match=f"--judged is '{given}'; give a folder that exists, or NAME=LIBRARY"):
        read_judged(given)


def test_sets_of_a_folder_are_found_by_their_ids(tmp_path: Path) -> None:
    write_lines(tmp_path / "guidelines/policy.jsonl", LIBRARY)
    write_lines(tmp_path / "guidelines/other.jsonl", [{"id": "z", "text": "z"}])
    write_lines(tmp_path / "prompts/asked.jsonl", QUERIES)
    write_lines(tmp_path / "judgements/policy.jsonl", JUDGEMENTS)
    said = [("a-train-1", "hi there", "hello"), ("a-train-2", "stop it", "end_it"), ("a-test-1", "hey", "hello")]
    said += [("a-test-2", "enough", "end_it"), ("a-oos-test-3", "purple", "oos"), ("a-val-4", "hi", "hello")]
    said += [(f"a-train-{number}", f"hi {number}", "hello") for number in range(10, 40)]
    write_lines(
        tmp_path / "retrieval/talk.jsonl", [{"id": id, "text": text, "category": name} for id, text, name in said]
    )
    intents = [{"id": "i1", "title": "end it", "text": "end it"}, {"id": "i2", "title": "hello", "text": "hello"}]
    write_lines(tmp_path / "retrieval/talk_intents.jsonl", intents)
    policy, talk, trained = find_judged(tmp_path)
    assert [each.query_sets[0].name for each in (policy, talk, trained)] == ["policy", "talk", "talk_train"]
    assert policy.query_sets[0].relevance == ({0: 1}, {1: 2})
    assert talk.query_sets[0] == JudgedQueries("talk", ("hey", "enough"), ({1: 1}, {0: 1}))
    # Twenty of each category are indexed; "stop it" is the second of all.
    assert len(trained.records) == 21
    assert trained.query_sets[0].relevance == ({0: 1, **dict.fromkeys(range(2, 21), 1)}, {1: 1})
    assert trained.documents[1] == ["stop it"]


def test_a_folder_without_what_its_judgements_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="there is no judged set in it"):
        find_judged(tmp_path)
    write_lines(tmp_path / "judgements/policy.jsonl", JUDGEMENTS)
    with pytest.raises(ArtifactError, match="no file beside it holds any of its 2 ids") as error:
        find_judged(tmp_path)
    assert error.value.field == "guideline_id"
    write_lines(tmp_path / "retrieval/talk.jsonl", [{"id": "a-test-1", "text": "hey", "category": "greet"}])
    write_lines(tmp_path / "retrieval/talk_intents.jsonl", [{"id": "i", "title": "end", "text": "end"}])
    (tmp_path / "judgements/policy.jsonl").unlink()
    with pytest.raises(ArtifactError, match=r"'a-test-1': no intent of .* has the title 'greet'"):
        find_judged(tmp_path)


def test_queries_are_drawn_once_and_kept_in_order() -> None:
    queries = JudgedQueries("many", tuple(map(str, range(50))), tuple({row: 1} for row in range(50)))
    drawn = queries.sampled(12)
    assert len(drawn.texts) == 12
    assert list(drawn.texts) == sorted(set(drawn.texts), key=int)
    assert [dict(each) for each in drawn.relevance] == [{int(text): 1} for text in drawn.texts]
    assert queries.sampled(12) == drawn
    assert queries.sampled(None) is queries
    assert queries.sampled(50) is queries


def pairs_of(*, dev: Mapping[str, str] | None = None) -> list[Pair]:
    held = {"dev": dev or {"open that lock": "crime-lock"}, "test": {"the wifi next door": "crime-wifi"}}
    return [Pair(text, (id,), split) for split, inputs in held.items() for text, id in inputs.items()]


def test_own_splits_are_query_sets_and_graded_pairs_a_third() -> None:
    more = [Pair("hello", (), "test"), Pair("a bomb in a lock", ("crime-bomb", "crime-lock"), "test", (3, 1))]
    library = own_library(toy.GUIDELINES, [*pairs_of(), *more])
    lock, wifi, bomb = (toy.POSITION[id] for id in ("crime-lock", "crime-wifi", "crime-bomb"))
    assert library.query_sets == (
        JudgedQueries("dev", ("open that lock",), ({lock: 1},)),
        JudgedQueries("test", ("the wifi next door",), ({wifi: 1},)),
        JudgedQueries("graded", ("a bomb in a lock",), ({bomb: 3, lock: 1},)),
    )


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (pairs_of()[1:], "split dev of the pairs holds no input that a guideline fits; both dev and test must"),
        (pairs_of(dev={"x": "crime-lok"}), "pairs name 1 guidelines that the library lacks, such as crime-lok; give"),
        (pairs_of(dev={toy.SHARED_EXAMPLE: "crime-wifi"}), "1 inputs of split dev or test are training inputs or e"),
        ([*pairs_of(), Pair("Open  that LOCK!", ("crime-lock",), "train")], "such as 'open that lock'; take them out"),
        (pairs_of(dev={"The wifi, next door": "crime-wifi"}), "1 inputs of split test are inputs of split dev as well"),
    ],
)
def test_splits_that_would_mislead_are_refused(pairs: list[Pair], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        own_library(toy.GUIDELINES, pairs)


def text(id: str, words: str) -> GuidelineRecord:
    return GuidelineRecord(id=id, kind="safety", category="", title="", text=words)


def asked(*texts: str) -> tuple[JudgedQueries, ...]:
    return (JudgedQueries("asked", texts, tuple({0: 1} for _ in texts)),)


def test_bm25_finds_shared_words_and_nothing_else() -> None:
    records = (text("a", "rivers and glaciers"), text("b", "violins"), text("c", "glaciers melt, glaciers move"))
    examples = replace(records[1], examples=("tuning a cello",))
    library = JudgedLibrary((records[0], examples, records[2]), asked("glaciers", "my cello", "the", "zebra", "?"))
    (found,) = Bm25().rank(library)
    assert [[each for each in row if each >= 0] for row in found.tolist()] == [[2, 0], [1], [], [], []]
    (nothing,) = Bm25().rank(JudgedLibrary((text("a", "the"), text("b", "?")), asked("the", "rivers")))
    assert (nothing == -1).all()


@pytest.fixture(scope="module")
def toy_student() -> Any:
    return toy.make_student(toy.make_encoder())


def embed(student: Any) -> Any:
    return lambda texts: student.embed_texts(list(texts), lambda line: None)


def test_the_engine_ranks_as_exact_search_over_folded_vectors(toy_student: Any, tmp_path: Path) -> None:
    """Without priorities, and with an index that reads all vectors, nothing but float16 lies between the two."""
    records = tuple(replace(record, priority=0.0) for record in toy.GUIDELINES)
    library = JudgedLibrary(records, asked(*[f"please: {example}" for example in toy.SENTENCES[:60]]))
    engine = EndToEnd(toy.make_encoder(), toy_student, embed(toy_student), "float16", tmp_path)
    (served,) = engine.rank(library)
    (exact,) = VectorSystem("student", embed(toy_student), embed(toy_student)).rank(library)
    np.testing.assert_array_equal(served[:, :6], exact[:, :6])
    assert list(tmp_path.iterdir()) == []


def opened(bundle: Path, tmp_path: Path, **encoders: Path) -> Any:
    return open_systems(SystemFiles(bundle, encoders, tmp_path / "cache", tmp_path), lambda line: None)


def test_systems_that_cannot_run_say_why(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    encoder = toy.make_encoder()
    bundle = toy.build_toy(
        tmp_path / "bundle", encoder=replace(encoder, info=replace(encoder.info, teacher=str(empty)))
    )
    systems = opened(bundle, tmp_path)
    assert str(empty) in systems.not_run["teacher"]
    assert systems.not_run["student float32"].endswith("give one with --encoder float32=FOLDER")
    assert {"BM25", "student int8", "engine"} <= {system.name for system in systems.ready}
    without = opened(toy.build_toy(tmp_path / "plain"), tmp_path)
    assert without.not_run["teacher"] == "the bundle names no teacher"


def test_other_encoders_stand_beside_the_shipped_one(tmp_path: Path, toy_bundle: Path) -> None:
    other = toy.build_toy(tmp_path / "other", encoder=toy.make_encoder(dimension=32, seed=4))
    (tmp_path / "same.onnx").write_bytes(read_encoder_files(toy_bundle).model)
    systems = opened(toy_bundle, tmp_path, float32=tmp_path / "same.onnx", slow=other)
    assert "student float32" not in systems.not_run
    library = JudgedLibrary(tuple(toy.GUIDELINES), asked(*toy.SENTENCES[:20]))
    ranks = {system.name: system.rank(library)[0] for system in systems.ready if system.name.startswith("student")}
    np.testing.assert_array_equal(ranks["student float32"], ranks["student int8"])
    assert (ranks["student slow"] != ranks["student int8"]).any()
    with pytest.raises(ArtifactError, match="the encoder cannot be read: No such file"):
        opened(toy_bundle, tmp_path, float32=tmp_path / "nowhere.onnx")


class Refusing:
    """A system that can open and cannot rank."""

    name = "refusing"

    def rank(self, library: JudgedLibrary) -> Any:
        raise ConfigError("no vectors here")


def test_a_system_that_fails_on_a_set_is_listed_beside_the_others() -> None:
    records = (text("a", "rivers"), text("b", "violins"))
    libraries = [
        JudgedLibrary(records, (JudgedQueries(name, ("violins", "zebra"), ({1: 1}, {1: 1})),))
        for name in ("one", "two")
    ]
    quality = measure_quality(libraries, [Bm25(), Refusing()], lambda line: None)
    assert [(row.set, row.system, row.documents, row.queries) for row in quality.rows] == [
        ("one", "BM25", 2, 2),
        ("two", "BM25", 2, 2),
    ]
    assert quality.not_run == [
        {"set": name, "system": "refusing", "reason": "no vectors here"} for name in ("one", "two")
    ]
    assert quality.means("nDCG@6") == {"BM25": 0.5}
    assert quality.of("two", "BM25") is quality.rows[1]
    assert quality.of("two", "refusing") is None


def test_a_mean_over_sets_is_given_only_to_systems_that_saw_all() -> None:
    figure = estimate(np.array([0.25]))
    row = measure_quality([JudgedLibrary((text("a", "rivers"),), asked("rivers"))], [Bm25()], lambda line: None).rows[0]
    rows = [
        replace(row, set=set, system=system, measures={"nDCG@6": figure})
        for set, system in (("one", "BM25"), ("two", "BM25"), ("one", "teacher"))
    ]
    assert Quality(rows, []).means("nDCG@6") == {"BM25": 0.25}

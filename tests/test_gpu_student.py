"""`build all --gpu-student`: a second bundle whose queries a transformer reads in float16, beside the default one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import toy

from guidealign_engine import load_engine
from guidealign_engine.bundle import PROJECTION, VECTORS, open_bundle, read_manifest
from guidealign_engine.encoder_files import read_encoder_files
from guidealign_engine.verification import verify_bundle

torch = pytest.importorskip("torch", reason="the offline extra is not installed")
pytest.importorskip("optimum.exporters.onnx", reason="the offline extra is not installed")

from all_runs import DEV, run, states, write_material  # noqa: E402

from guidealign_engine.errors import ConfigError  # noqa: E402
from guidealign_engine.offline.retriever.build_all_config import BuildAllConfig, GpuStudent  # noqa: E402
from guidealign_engine.offline.retriever.step_standings import State, later_steps, standings_of  # noqa: E402
from guidealign_engine.offline.retriever.steps import STEP_RECORD, Step, files_in  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.usefixtures("one_torch_thread", "no_hub"),
]

STEPS = ["student", "bundle", "calibrate", "verify", "quality"]
FOR_GPU = [f"gpu-{step}" for step in STEPS]
TRANSFORMER = ("--gpu-student", "transformer", "--gpu-layers", "2", "--gpu-width", "32")


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_material(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="module")
def by_teacher(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    out = tmp_path_factory.mktemp("by-teacher") / "out"
    done = run(material, out, "--teacher", str(material / "model"), "--gpu-student", "teacher")
    assert done.exit_code == 0, done.output
    assert "gpu-bundle on the dev split" in done.stdout
    return out


def test_the_teacher_reads_queries_beside_the_default_student(material: Path, by_teacher: Path) -> None:
    assert sorted(file.name for file in by_teacher.iterdir()) == ["bundle", "gpu-bundle", "run.json", "work"]
    assert len(list(verify_bundle(by_teacher / "gpu-bundle"))) == 5
    default, for_gpu = (read_manifest(by_teacher / name) for name in ("bundle", "gpu-bundle"))
    assert (default.name, for_gpu.name) == ("out", "out-gpu")
    assert default.encoder.id.startswith("static-16-")
    assert for_gpu.encoder.id.startswith("model-float16-16-")
    assert for_gpu.encoder.teacher == default.encoder.teacher == str(material / "model")
    record = json.loads((by_teacher / "work" / "gpu-student" / "student.json").read_bytes())
    assert record["parity"]["lowest_cosine"] >= 0.9999
    assert record["loss"]["lowest_cosine"] >= 0.999


def test_both_students_read_into_one_space(by_teacher: Path) -> None:
    default, for_gpu = (open_bundle(by_teacher / name) for name in ("bundle", "gpu-bundle"))
    assert for_gpu.read(PROJECTION) == default.read(PROJECTION)
    np.testing.assert_array_equal(for_gpu.arrays(VECTORS)["vectors"], default.arrays(VECTORS)["vectors"])


def test_the_bundle_finds_what_its_record_says_and_more_than_the_static_one(by_teacher: Path) -> None:
    steps = json.loads((by_teacher / "run.json").read_bytes())["steps"]
    found = load_engine(by_teacher / "gpu-bundle").retrieve_batch(
        [pair["input"] for pair in DEV], min_score=-1.0, duplicate_ratio=None
    )
    hits = [pair["positive"][0] in {g.id for g in each.guidelines} for pair, each in zip(DEV, found, strict=True)]
    recall = steps["gpu-quality"]["result"]["recall@6"]
    assert recall == pytest.approx(sum(hits) / len(hits), abs=1e-4)
    assert recall > steps["quality"]["result"]["recall@6"]


def test_the_run_says_where_it_trained(by_teacher: Path) -> None:
    run_record = json.loads((by_teacher / "run.json").read_bytes())
    device = run_record["machine"]["device"]
    assert device.startswith("cuda:0: " if torch.cuda.is_available() else "cpu")
    assert run_record["steps"]["student"]["result"]["device"] == device
    assert json.loads((by_teacher / "work" / "student" / "student.json").read_bytes())["device"] == device


def test_a_transformer_is_distilled_in_float16(material: Path, tmp_path: Path, by_teacher: Path) -> None:
    teacher = ("--teacher", str(material / "model"))
    first = run(material, tmp_path / "out", *teacher, "--json")
    assert states(first) == dict.fromkeys(STEPS, False)
    second = run(material, tmp_path / "out", *teacher, *TRANSFORMER, "--json")
    # The default bundle is not made anew for the other one's sake.
    assert states(second) == dict.fromkeys(STEPS, True) | dict.fromkeys(FOR_GPU, False)
    files = read_encoder_files(tmp_path / "out" / "work" / "gpu-student")
    assert files.info.id.startswith("bert-2x32-float16-16-")
    assert files.projection == read_encoder_files(by_teacher / "work" / "student").projection
    exact = read_encoder_files(tmp_path / "out" / "work" / "gpu-student" / "float32")
    halved, whole = (toy.make_student(each).embed_texts(toy.SENTENCES, lambda line: None) for each in (files, exact))
    assert (halved * whole).sum(axis=1).min() > 0.999
    assert len(files.model) < 0.7 * len(exact.model)
    assert len(list(verify_bundle(tmp_path / "out" / "gpu-bundle"))) == 5


def test_another_kind_of_student_runs_anew_and_the_default_one_does_not(material: Path, by_teacher: Path) -> None:
    teacher = ("--teacher", str(material / "model"))
    plan = run(material, by_teacher, *teacher, *TRANSFORMER, "--dry-run", "--json")
    assert plan.exit_code == 0, plan.output
    states_of = {step["step"]: step["state"] for step in json.loads(plan.stdout)["steps"]}
    assert [states_of[name] for name in STEPS] == ["finished"] * 5
    assert states_of["gpu-student"] == "changed"
    assert "finished" not in {states_of[name] for name in FOR_GPU}


def test_an_unknown_student_is_refused(material: Path, tmp_path: Path) -> None:
    done = run(material, tmp_path / "out", "--gpu-student", "thin")
    assert done.exit_code == 1
    assert "--gpu-student is 'thin'; allowed: teacher, transformer" in done.stderr
    with pytest.raises(ConfigError, match="give both or neither"):
        BuildAllConfig(name="x", gpu_student=GpuStudent.TRANSFORMER)


# Which steps depend on which


def finished_step(work: Path, name: str, after: tuple[str, ...]) -> Step:
    step = Step(name=name, inputs={"name": name}, run=lambda folder, report: {}, after=after)
    (work / name).mkdir()
    (work / name / "file").write_text(name)
    record = {"inputs": dict(step.inputs), "finished": True, "files": files_in(work / name)}
    (work / name / STEP_RECORD).write_text(json.dumps(record))
    return step


def test_a_step_is_outdated_by_those_that_it_reads_from_alone(tmp_path: Path) -> None:
    read_from: dict[str, tuple[str, ...]] = {"a": (), "b": ("a",), "c": (), "d": ("b",)}
    steps = [finished_step(tmp_path, name, after) for name, after in read_from.items()]
    assert [standing.state for standing in standings_of(tmp_path, steps)] == [State.FINISHED] * 4
    (tmp_path / "a" / "file").write_text("damaged")
    standings = standings_of(tmp_path, steps)
    assert [standing.state for standing in standings] == [
        State.DAMAGED,
        State.OUTDATED,
        State.FINISHED,
        State.OUTDATED,
    ]
    assert standings[3].changed == ("a",)
    assert [step.name for step in later_steps(steps[0], steps)] == ["b", "d"]

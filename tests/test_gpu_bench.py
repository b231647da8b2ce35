"""What the benchmark of GPUs carries along, and how it marks what was not measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench.gpu.bert_graph import Shape, transformer_graph
from bench.gpu.cases import Measured
from bench.gpu.floors import CardRates
from bench.gpu.parity import verdict
from bench.gpu.report import NOT_MEASURED, record, table
from bench.gpu.wheels import SUMS, join, split

from guidealign_engine.batches import TokenBatch
from guidealign_engine.gpu.buckets import Buckets
from guidealign_engine.gpu.encoder import CudaEncoder
from guidealign_engine.gpu.sessions import Place

RATES = CardRates(bytes_per_s=4e12, half_flop_per_s=8e14, host_bytes_per_s=1e10)


@pytest.fixture
def carried(tmp_path: Path) -> Path:
    """A large wheel in three parts and a small one whole, as they are carried."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / "large-1.0-py3-none-any.whl").write_bytes(np.random.default_rng(0).bytes(2500))
    (folder / "small-1.0-py3-none-any.whl").write_bytes(b"small")
    return folder


def test_wheels_come_back_whole(carried: Path, tmp_path: Path) -> None:
    whole = {file.name: file.read_bytes() for file in carried.glob("*.whl")}
    written = split(carried, part_bytes=1000)
    assert [(file.name[-6:], file.stat().st_size) for file in written] == [
        ("part00", 1000),
        ("part01", 1000),
        ("part02", 500),
        ("ny.whl", 5),
    ]
    joined = join(carried, tmp_path / "out")
    assert {file.name: file.read_bytes() for file in joined} == whole


def test_a_damaged_or_missing_part_is_named(carried: Path, tmp_path: Path) -> None:
    split(carried, part_bytes=1000)
    middle = carried / "large-1.0-py3-none-any.whl.part01"
    middle.write_bytes(b"\0" * 1000)
    with pytest.raises(ValueError, match=r"large-1\.0-py3-none-any\.whl: SHA-256 is .*; carry its parts anew$"):
        join(carried, tmp_path / "out")
    for part in carried.glob("large*"):
        part.unlink()
    with pytest.raises(ValueError, match=r"neither large-1\.0-py3-none-any\.whl nor parts of it are there$"):
        join(carried, tmp_path / "out")
    (carried / SUMS).unlink()
    with pytest.raises(ValueError, match=r"there are no sums; make the folder with bench/gpu/collect_wheels\.sh$"):
        join(carried, tmp_path / "out")


def test_a_floor_is_the_slower_of_bytes_and_operations() -> None:
    assert RATES.floor_us(read_bytes=4e8) == pytest.approx(100)
    assert RATES.floor_us(read_bytes=4e8, flop=1.6e11) == pytest.approx(200)


def test_what_ran_without_a_gpu_has_no_value() -> None:
    figure = Measured("search, 64", "us", 123.0, 150.0, target=300.0, detail="nprobe 8")
    made = record(figure, measured=False)
    assert (made["p50"], made["p99"], made["met"], made["status"]) == (None, None, None, NOT_MEASURED)
    assert "123" not in table([made], None)
    assert f"| search, 64 | ≤ 300 µs | {NOT_MEASURED} |" in table([made], None)


@pytest.mark.parametrize(
    ("unit", "p50", "target", "met"), [("us", 299.0, 300.0, True), ("us", 301.0, 300.0, False), ("/s", 9.0, 8.0, True)]
)
def test_a_measured_figure_stands_beside_its_target_and_its_floor(
    unit: str, p50: float, target: float, met: bool
) -> None:
    figure = Measured("search", unit, p50, None, device_us=200.0, floor_us=100.0, target=target)
    made = record(figure, measured=True)
    assert (made["met"], made["times_floor"], made["status"]) == (met, 2.0, "measured")
    assert ("**no**" in table([made], None)) is not met


def test_answers_that_differ_by_more_than_rounding_are_named() -> None:
    good: dict[str, Any] = {"shared_of_six": 0.99, "largest_score_difference": 1e-4, "least_cosine": 0.9999}
    assert verdict(good) == []
    assert verdict({**good, "shared_of_six": 0.5}) == ["only 0.500 of the six guidelines are the CPU's"]
    assert verdict({**good, "least_cosine": 0.99}) == ["a query vector has a cosine of 0.99000 to the CPU's"]


def test_the_student_that_is_timed_is_one_the_encoder_takes() -> None:
    shape = Shape(layers=2, width=32, heads=4, inner=64, vocabulary=90, positions=16, dimension=8)
    encoder = CudaEncoder(
        transformer_graph(shape), dimension=8, buckets=Buckets((1, 4), (8,)), place=Place("cpu"), source=Path("x.onnx")
    )
    rows = [np.arange(3, 3 + length, dtype=np.int64) for length in (5, 8, 2)]
    together = encoder.embed(TokenBatch.of(rows))
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-3)
    # Padding and neighbours change nothing that float16 would show.
    alone = np.concatenate([encoder.embed(TokenBatch.of([row])) for row in rows])
    np.testing.assert_allclose(together, alone, atol=5e-3)
    assert Shape().flop(1, 64) > 2 * 10_000_000 * 64

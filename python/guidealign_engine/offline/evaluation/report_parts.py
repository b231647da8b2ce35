"""Parts of the report's record that are no measurement of their own."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from guidealign_engine.config import QueryConfig
from guidealign_engine.offline.evaluation.quality import Quality
from guidealign_engine.offline.machine import processor, versions

_PACKAGES = (
    "guidealign-engine",
    "numpy",
    "onnxruntime",
    "faiss-cpu",
    "torch",
    "sentence-transformers",
    "bm25s",
    "ir-measures",
)
NOTES = {
    "own_library": "a guideline's examples are folded into its vector with its text; BM25 reads both as one document",
    "judged_libraries": "title and text alone, there are no examples; each set is a library of its own",
    "query": "every system is given what the engine reads of a query: its start and its end, "
    f"{QueryConfig().max_characters:,} characters at most",
    "student": "the library's side is embedded by the teacher, the query's by the student; exact search",
    "engine": "query cut, student, index, exact scores; thresholds and duplicate removal off",
    "ties": "equal scores, to six decimals, put the text first that is first in the library",
    "intervals": "95 % percentile bootstrap over queries, 1,000 draws, seed 0",
    "teacher_vectors": "computed in bfloat16 and kept as float16",
}
"""How to read the figures"""


def quality_record(quality: Quality) -> dict[str, Any]:
    """Figures by set and system, their means over sets, and what was not measured."""
    return {
        "rows": [row.as_dict() for row in quality.rows],
        "mean_nDCG@6": quality.means("nDCG@6"),
        "not_run": list(quality.not_run),
    }


def pareto_points(latency: Sequence[Mapping[str, Any]], own: Quality, judged: Quality) -> list[dict[str, Any]]:
    """By encoder: microseconds at the shorter length, nDCG@6 on the own test split, mean nDCG@6 on judged sets."""
    means = judged.means("nDCG@6")
    shortest = min(row["tokens"] for row in latency) if latency else 0
    points = []
    for row in latency:
        name = row["encoder"]
        test = own.of("test", name)
        if row["tokens"] == shortest and test is not None:
            figure = round(test.measures["nDCG@6"].mean, 4)
            points.append({"encoder": name, "p50_us": row["p50_us"], "own": figure, "judged": means.get(name)})
    return points


def report_machine() -> dict[str, Any]:
    """Where it was measured; a package that is not installed is null."""
    found = versions(_PACKAGES)
    return {
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_1_min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "packages": {package: found.get(package) for package in _PACKAGES},
    }

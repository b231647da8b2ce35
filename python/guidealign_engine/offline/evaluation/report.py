"""The quality report: its sections in order."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from guidealign_engine.bundle import open_bundle
from guidealign_engine.engine import Engine
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.loading import load_engine
from guidealign_engine.offline.evaluation.judged import JudgedLibrary, JudgedQueries
from guidealign_engine.offline.evaluation.latency import measure_latency
from guidealign_engine.offline.evaluation.open_systems import SystemFiles, Systems, open_systems
from guidealign_engine.offline.evaluation.own_splits import own_library
from guidealign_engine.offline.evaluation.prompt_sets import PromptSet, Role
from guidealign_engine.offline.evaluation.quality import Quality, measure_quality
from guidealign_engine.offline.evaluation.query_cut import measure_query_cut
from guidealign_engine.offline.evaluation.report_parts import NOTES, pareto_points, quality_record, report_machine
from guidealign_engine.offline.evaluation.safety import measure_safety
from guidealign_engine.offline.evaluation.thresholds import shown_by_kind
from guidealign_engine.offline.guidelines.held_out import HELD_OUT_SPLITS
from guidealign_engine.pairs import Pair
from guidealign_engine.tokenizer import QueryTokenizer

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationMaterial:
    """All that is measured on, read and checked."""

    bundle: Path
    pairs: Sequence[Pair]
    guidelines: Sequence[GuidelineRecord] | None = None
    """None for those of the bundle"""
    judged: Sequence[JudgedLibrary] = ()
    prompts: Sequence[PromptSet] = ()
    encoders: Mapping[str, Path] | None = None
    decline_tag: str = "decline"


def evaluate(material: EvaluationMaterial, cache: Path | None, report: Report) -> dict[str, Any]:
    """The record of the report. Test data is read here and nowhere chooses anything.

    cache: where teacher vectors are kept, so that a killed run goes on; None keeps them for this run alone.
    Raises what `own_library` and `open_systems` raise; a system that merely cannot run is listed in `not_run`.
    """
    engine = load_engine(material.bundle)
    own = _own_library(material, engine)
    with tempfile.TemporaryDirectory(prefix="guidealign-evaluate-") as scratch:
        files = SystemFiles(material.bundle, material.encoders or {}, cache or Path(scratch) / "vectors", Path(scratch))
        return _Evaluation(material, engine, own, open_systems(files, report), report).record()


def _own_library(material: EvaluationMaterial, engine: Engine) -> JudgedLibrary:
    shipped = [engine.library.record(position) for position in range(len(engine.library))]
    if material.guidelines is None or list(material.guidelines) == shipped:
        return own_library(shipped, material.pairs, material.bundle)
    return own_library(material.guidelines, material.pairs)


class _Evaluation:
    """Runs the sections one after the other and keeps how long each took."""

    def __init__(
        self, material: EvaluationMaterial, engine: Engine, own: JudgedLibrary, systems: Systems, report: Report
    ) -> None:
        self._material = material
        self._engine = engine
        self._own = own
        self._systems = systems
        self._report = report
        self._seconds: dict[str, float] = {}
        self._tokenizer = QueryTokenizer.from_bundle(open_bundle(material.bundle))

    def record(self) -> dict[str, Any]:
        own = self._timed("own splits", lambda: self._quality([self._own]))
        judged = self._timed("judged sets", lambda: self._quality(self._material.judged))
        shown = self._timed("thresholds", self._shown)
        safety = self._timed("safety", self._safety)
        cut = self._timed("query cut", self._query_cut)
        latency = self._timed("latency", self._latency)
        return {
            "bundle": self._about_bundle(),
            "notes": NOTES,
            "not_run": dict(self._systems.not_run),
            "own": quality_record(own),
            "shown_at_thresholds": shown,
            "judged": quality_record(judged),
            "safety": safety,
            "query_cut": cut,
            "latency": latency,
            "pareto": pareto_points(latency, own, judged),
            "machine": report_machine(),
            "seconds": self._seconds,
        }

    def _timed(self, section: str, measure: Callable[[], Any]) -> Any:
        self._report(section)
        started = perf_counter()
        measured = measure()
        self._seconds[section] = round(perf_counter() - started, 1)
        return measured

    def _quality(self, libraries: Sequence[JudgedLibrary]) -> Quality:
        return measure_quality(libraries, self._systems.ready, self._report)

    def _shown(self) -> dict[str, dict[str, float]]:
        """Of the bundle's own library, by split; inputs that no guideline fits count as well."""
        shown: dict[str, dict[str, float]] = {}
        if self._own.bundle is None:
            return shown
        for split in HELD_OUT_SPLITS:
            chosen = [pair for pair in self._material.pairs if pair.split == split and not pair.grades]
            shown[split] = {name: round(share, 4) for name, share in shown_by_kind(self._engine, chosen).items()}
        return shown

    def _safety(self) -> dict[str, Any] | None:
        if not self._material.prompts:
            return None
        return measure_safety(self._engine, self._material.prompts, self._tokenizer.count, self._material.decline_tag)

    def _query_cut(self) -> dict[str, Any] | None:
        engine = self._systems.engine
        if not self._material.prompts or engine is None:
            return None
        return measure_query_cut(
            engine.engine_for(self._own),
            self._test_inputs(),
            {
                "of other requests": self._texts(Role.BENIGN),
                "of passages": self._texts(Role.PASSAGE),
            },
            self._texts(Role.WRAPPER),
        )

    def _latency(self) -> list[dict[str, Any]]:
        return measure_latency(self._systems.encoders, self._test_inputs().texts, self._tokenizer.count)

    def _test_inputs(self) -> JudgedQueries:
        return next(queries for queries in self._own.query_sets if queries.name == "test")

    def _texts(self, role: Role) -> list[str]:
        return [text for one in self._material.prompts if one.role is role for text in one.texts]

    def _about_bundle(self) -> dict[str, Any]:
        manifest = self._engine.manifest
        return {
            "name": manifest.name,
            "guidelines": manifest.guidelines,
            "own_guidelines": len(self._own.records),
            "encoder": manifest.encoder.id,
            "teacher": manifest.encoder.teacher,
            "index": manifest.index.kind,
            "vectors_by": manifest.vectors_by,
        }

"""Options of `guidealign build all`."""

from __future__ import annotations

from dataclasses import dataclass, field

from guidealign_engine.calibration import FALSE_ALARMS
from guidealign_engine.index_tuning import RECALL_TARGET
from guidealign_engine.offline.retriever.build_student import StudentConfig
from guidealign_engine.offline.retriever.build_teacher import BuildTeacherConfig

TRAIN = "train"
"""In the place of a teacher's name: one is trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildAllConfig:
    """All options. The student's teacher is filled in."""

    name: str
    teacher: str = TRAIN
    limit: int = 50_000
    """Unlabelled texts, and as many harmless ones, that are drawn."""
    store: str = "int8"
    index: str | None = None
    recall: float = RECALL_TARGET
    false_alarms: float = FALSE_ALARMS
    training: BuildTeacherConfig = field(default_factory=BuildTeacherConfig)
    student: StudentConfig = field(default_factory=StudentConfig)

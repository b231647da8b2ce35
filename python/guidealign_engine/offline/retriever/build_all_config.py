"""Options of `guidealign build all`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from guidealign_engine.calibration import FALSE_ALARMS
from guidealign_engine.errors import ConfigError
from guidealign_engine.index_tuning import RECALL_TARGET
from guidealign_engine.offline.export.precision import Precision
from guidealign_engine.offline.retriever.build_student import StudentConfig
from guidealign_engine.offline.retriever.build_teacher import BuildTeacherConfig
from guidealign_engine.offline.retriever.training_device import AUTO
from guidealign_engine.offline.retriever.transformer_config import TransformerConfig

TRAIN = "train"
"""In the place of a teacher's name: one is trained."""


class GpuStudent(StrEnum):
    """What reads queries in the bundle for engines on a GPU."""

    TEACHER = "teacher"
    """The teacher itself: of its size and quality."""
    TRANSFORMER = "transformer"
    """A transformer that is distilled from it."""


def gpu_transformer(*, layers: int, width: int) -> TransformerConfig:
    """Wider than the CPU's thin one, so trained at a lower rate and for longer."""
    return TransformerConfig(layers=layers, width=width, precision=Precision.FLOAT16, learning_rate=5e-4, epochs=8)


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
    device: str = AUTO
    """Where encoders are trained. No step depends on it: what one device finished, another keeps."""
    training: BuildTeacherConfig = field(default_factory=BuildTeacherConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    gpu_student: GpuStudent | None = None
    """None makes no bundle for GPUs."""
    gpu_transformer: TransformerConfig | None = None
    """Given where the student for GPUs is a transformer."""

    def __post_init__(self) -> None:
        if (self.gpu_student is GpuStudent.TRANSFORMER) != (self.gpu_transformer is not None):
            raise ConfigError("gpu_transformer is for gpu_student transformer, which needs it; give both or neither")

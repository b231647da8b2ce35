"""How fast a teacher learns: the encoder slowly, the classifier on top of it faster."""

from __future__ import annotations

from torch import nn, optim

from guidealign_engine.offline.retriever.teacher_config import TeacherConfig

_WARM_UP = 0.1


def optimisation(
    encoder: nn.Module, risk: nn.Module, config: TeacherConfig, steps: int
) -> tuple[optim.Optimizer, optim.lr_scheduler.LRScheduler]:
    """AdamW over what of the encoder is trained, and over `risk`; rates rise for a tenth of the steps and then fall."""
    trained = [weights for weights in encoder.parameters() if weights.requires_grad]
    optimiser = optim.AdamW(
        [
            {"params": trained, "lr": config.learning_rate, "weight_decay": 0.01},
            {"params": risk.parameters(), "lr": config.risk_learning_rate},
        ]
    )
    schedule = optim.lr_scheduler.OneCycleLR(
        optimiser,
        [config.learning_rate, config.risk_learning_rate],
        # The schedule cannot warm up in less than a step.
        total_steps=max(steps + 1, round(2 / _WARM_UP)),
        pct_start=_WARM_UP,
    )
    return optimiser, schedule

"""What a model says, without what servers and habits put around it."""

from __future__ import annotations

import re

# Some servers leave the thoughts in the answer, some of them without the mark that opens them.
_ENDED_THOUGHTS = re.compile(r"\A.*</think(?:ing)?>", re.DOTALL)
_ENDLESS_THOUGHTS = re.compile(r"\A\s*<think(?:ing)?>.*\Z", re.DOTALL)
_FENCE = re.compile(r"```\w*\s(.*?)```", re.DOTALL)


def without_thoughts(answer: str) -> str:
    """The answer after its thoughts; nothing where the thoughts never end."""
    return _ENDLESS_THOUGHTS.sub("", _ENDED_THOUGHTS.sub("", answer)).strip()


def unfenced(answer: str) -> str:
    """The content of a code fence, if the answer is nothing else."""
    fence = _FENCE.fullmatch(answer.strip())
    return fence[1].strip() if fence else answer

"""What importing and loading cost a process that has done nothing yet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

HEAVY_MODULES = ("torch", "transformers", "onnxruntime", "faiss")

_IMPORT = """
import sys
from time import perf_counter_ns
begin = perf_counter_ns()
import MODULE
took_ns = perf_counter_ns() - begin
answer = None
"""
_LOAD = """
import sys
from time import perf_counter_ns
begin = perf_counter_ns()
from guidealign_engine import load_engine
engine = load_engine(BUNDLE)
took_ns = perf_counter_ns() - begin
answer = engine.retrieve_batch([PROMPT], min_score=-1.0)[0].positions
"""
_REPORT = """
import json
print(json.dumps({"took_us": took_ns / 1000, "modules": sorted(sys.modules), "answer": answer}))
"""


@dataclass(frozen=True, slots=True)
class FreshProcess:
    """`took_us` is without the start of the interpreter."""

    took_us: float
    modules: frozenset[str]
    answer: list[int] | None
    """Positions found for the prompt, after a load."""

    @property
    def heavy_modules(self) -> list[str]:
        return [name for name in HEAVY_MODULES if name in self.modules]


def import_module(module: str = "guidealign_engine") -> FreshProcess:
    return _run(_IMPORT.replace("MODULE", module) + _REPORT)


def load_engine(bundle: str | None, prompt: str) -> FreshProcess:
    """Import and load; the first request is answered after the clock has stopped."""
    return _run(f"BUNDLE = {bundle!r}\nPROMPT = {prompt!r}\n{_LOAD}{_REPORT}")


def _run(program: str) -> FreshProcess:
    # An installed package has its bytecode; here the first process writes it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    return FreshProcess(report["took_us"], frozenset(report["modules"]), report["answer"])

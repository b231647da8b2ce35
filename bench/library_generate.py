"""Inputs a second of `guidealign library generate` against a local server that answers at once, its peak memory, and
what it costs to go on after a kill.

python -m bench.library_generate --inputs 10000
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.machine import commit_record, machine_record

_REPOSITORY = Path(__file__).parents[1]
_SERVER = _REPOSITORY / "tests/chat_server.py"
_PROMPTS = _REPOSITORY / "library/guidelines"
_FILES = ("guidelines.jsonl", "pairs.jsonl", "skipped.jsonl")
# The kernel's own count of a child's memory begins with what its parent held before it.
_RUN = """
import atexit, re, sys
from pathlib import Path
from guidealign_engine.__main__ import main
peak = lambda: re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
atexit.register(lambda: print(peak(), file=sys.stderr))
main()
"""


def main(arguments: Sequence[str]) -> None:
    options = _options(arguments)
    result: dict[str, Any] = {"command": ["python", "-m", "bench.library_generate", *arguments], **commit_record()}
    result["machine"] = machine_record()
    result["inputs"] = options.inputs
    result["concurrency"] = options.concurrency
    with tempfile.TemporaryDirectory(prefix="library-generate-", dir=options.scratch) as folder, server() as url:
        result |= measured(options, Path(folder), url)
    text = json.dumps(result, indent=2)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")


def measured(options: argparse.Namespace, folder: Path, url: str) -> dict[str, Any]:
    """Whole runs, runs that find all answers there, and one killed half-way and finished; the files must be equal."""
    inputs, one = folder / "inputs.jsonl", folder / "one.jsonl"
    write_inputs(inputs, options.inputs)
    write_inputs(one, 1)
    start_s = min(timed(one, url, folder / f"one-{run}", options)["seconds"] for run in range(options.repeats))
    whole = [timed(inputs, url, folder / f"whole-{run}", options) for run in range(options.repeats)]
    again = [timed(inputs, url, folder / "whole-0", options) for _ in range(options.repeats)]
    assert [run["reused"] for run in again] == [2 * options.inputs] * options.repeats, "an answer was not kept"
    whole_s = statistics.median(run["seconds"] for run in whole)
    killed_s = killed(inputs, url, folder / "killed", options, after_s=start_s + (whole_s - start_s) / 2)
    rest = timed(inputs, url, folder / "killed", options)
    contents = {tuple((folder / name / file).read_bytes() for file in _FILES) for name in ("whole-0", "killed")}
    assert len(contents) == 1, "the killed run ended with other files"
    again_s = statistics.median(run["seconds"] for run in again)
    return {
        "start_seconds": start_s,
        "runs_seconds": [run["seconds"] for run in whole],
        "inputs_per_second": round(options.inputs / whole_s, 1),
        "peak_megabytes": max(run["peak_megabytes"] for run in (*whole, *again)),
        "all_answered_seconds": [run["seconds"] for run in again],
        "resume_overhead_seconds": round(again_s - start_s, 2),
        "killed": {
            "killed_after_seconds": round(killed_s, 2),
            "answers_kept": rest["reused"],
            "rest_seconds": rest["seconds"],
            "calls_of_the_rest": rest["calls"],
        },
    }


def write_inputs(file: Path, count: int) -> None:
    """Examples of the library, each with a number that makes it another input."""
    texts = [
        text
        for path in sorted(_PROMPTS.glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
        for text in json.loads(line)["examples"]
    ]
    with file.open("w", encoding="utf-8") as lines:
        for number in range(count):
            text = f"{texts[number % len(texts)]} (case {number})"
            lines.write(json.dumps({"input": text, "category": "bench"}, ensure_ascii=False) + "\n")


def timed(inputs: Path, url: str, out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One run of the command in a process of its own, start of Python included."""
    begin = time.perf_counter()
    done = subprocess.run(_command(inputs, url, out, options), capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["guidelines"], summary["skipped"]) == (2 * summary["inputs"], 0), summary
    return {
        "seconds": round(seconds, 2),
        "peak_megabytes": int(done.stderr.split()[-1]) // 1024,
        "calls": summary["calls"],
        "reused": summary["reused"],
    }


def killed(inputs: Path, url: str, out: Path, options: argparse.Namespace, *, after_s: float) -> float:
    """Starts a run and kills it; how long it ran."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        _command(inputs, url, out, options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run was over before it was killed"
    return time.perf_counter() - begin


def _command(inputs: Path, url: str, out: Path, options: argparse.Namespace) -> list[str]:
    command = ["library", "generate", str(inputs), "--base-url", url, "--model", "scripted", "--out", str(out)]
    return [sys.executable, "-c", _RUN, *command, "--concurrency", str(options.concurrency), "--json"]


@contextmanager
def server() -> Iterator[str]:
    """A server in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        port = Path(folder) / "port"
        process = subprocess.Popen([sys.executable, str(_SERVER), str(port)])
        try:
            for _ in range(500):
                if port.exists() and port.read_text(encoding="utf-8"):
                    break
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port.read_text(encoding='utf-8')}/v1"
        finally:
            process.kill()
            process.wait()


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.library_generate", description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scratch", type=Path, help="folder for answers; the system's own without it")
    parser.add_argument("--out", type=Path, help="file for the result")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])

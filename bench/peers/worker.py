"""One peer in a process of its own: `python -m bench.peers.worker JOB.json` loads it, times it, writes its answers."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from bench.peers.task import Guided, PeerProtocol, Task

_WARM_UP_CALLS = 20
# A share of the time that calls are measured for.
_WARM_UP_SHARE = 0.25


def main(job: dict[str, Any]) -> None:
    task = Task(**job["task"])
    if job["step"] == "build":
        import_module(job["adapter"]).build(task)
        return
    begin = perf_counter_ns()
    peer: PeerProtocol = import_module(job["adapter"]).Peer(task)
    load_ns = perf_counter_ns() - begin
    singles = [[prompt] for prompt in job["prompts"]]
    _timed(peer, singles[:_WARM_UP_CALLS], job["budget_s"] * _WARM_UP_SHARE)
    result = {
        "load_us": load_ns / 1000,
        "single": _timed(peer, singles, job["budget_s"]),
        "batch": _timed(peer, job["batches"], job["budget_s"]),
        "resident_bytes": _resident_bytes(),
        "quality": [guided.positions for batch in job["quality"] for guided in peer.guide(batch)],
    }
    Path(job["out"]).write_text(json.dumps(result), encoding="utf-8")


def _timed(peer: PeerProtocol, calls: Sequence[list[str]], budget_s: float) -> dict[str, Any]:
    """Microseconds and answers of the calls that begin within the time; at least of one."""
    from bench.measure import garbage_collection_off

    durations_us: list[float] = []
    answers: list[list[Guided]] = []
    with garbage_collection_off():
        start = perf_counter_ns()
        for prompts in calls:
            begin = perf_counter_ns()
            answer = peer.guide(prompts)
            end = perf_counter_ns()
            durations_us.append((end - begin) / 1000)
            answers.append(answer)
            if end - start > budget_s * 1e9:
                break
    return {"durations_us": durations_us, "answers": [[asdict(guided) for guided in answer] for answer in answers]}


def _resident_bytes() -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return 1024 * int(found[1]) if found else 0


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))

"""How long `guidealign library merge` takes, how that grows, how much memory it needs, and what it misses.

python -m bench.library_merge --sizes 10000 30000 100000
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Indel
from rapidfuzz.process import cdist

from bench.machine import commit_record, machine_record
from bench.raw_guidelines import raw_guidelines, write_raw
from guidealign_engine.guideline_files import read_guidelines
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.offline.guidelines.meaning import DEFAULT_LIKENESS, MeaningEncoder
from guidealign_engine.offline.guidelines.near_duplicates import DEFAULT_RATIO, similar_pairs
from guidealign_engine.offline.guidelines.stance import opposite, tagged_stance

_REAL = Path(__file__).parents[1] / "library/guidelines"
_JUDGED = Path(__file__).parent / "same_or_not.jsonl"
_LOWEST_RECALL = 0.99
_SAMPLE = 300
# The kernel's own count of a child's memory begins with what its parent held before it.
_RUN = """
import atexit, re, sys
from pathlib import Path
from guidealign_engine.__main__ import main
peak = lambda: re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
atexit.register(lambda: print(peak(), file=sys.stderr))
main()
"""
_BINS = (0.75, 0.77, 0.8, 0.9, 1.001)


def main(arguments: Sequence[str]) -> None:
    options = _options(arguments)
    result: dict[str, Any] = {"command": ["python", "-m", "bench.library_merge", *arguments], **commit_record()}
    result["machine"] = machine_record()
    result["recall"] = recall(options.exhaustive, options.seed)
    result["meaning"] = judged_meanings()
    with tempfile.TemporaryDirectory(prefix="library-merge-", dir=options.scratch) as folder:
        runs = [timed_merge(size, options, Path(folder)) for size in options.sizes]
    result["runs"] = runs
    result["growth_exponent"] = growth_exponent(runs)
    text = json.dumps(result, indent=2)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")


def recall(count: int, seed: int) -> dict[str, Any]:
    """Pairs found among those that comparing all with all finds. Raises AssertionError when too few are."""
    entries = [record.entry for record in raw_guidelines(count, seed=seed)]
    found = np.zeros((count, count), dtype=np.bool_)
    for pairs in similar_pairs(entries):
        found[pairs.later, pairs.earlier] = True
    ratios = np.tril(cdist(entries, entries, scorer=Indel.normalized_similarity, dtype=np.float64, workers=2), -1)
    alike = ratios >= DEFAULT_RATIO
    assert not (found & ~alike).any(), "a pair below the ratio was found"
    shares = {}
    for low, high in pairwise(_BINS):
        inside = (ratios >= low) & (ratios < high)
        shares[f"{low:g} to {min(high, 1):g}"] = {"pairs": int(inside.sum()), "found": _share(found, inside)}
    whole = _share(found, alike)
    assert whole >= _LOWEST_RECALL, f"only {whole:.4f} of the pairs were found"
    return {"guidelines": count, "pairs": int(alike.sum()), "found": whole, "by_ratio": shares}


def judged_meanings() -> dict[str, Any]:
    """At the default likeness: paraphrases that count as the same, and others that must not."""
    library = {record.id: record.entry for record in read_guidelines([_REAL])}
    judged = [json.loads(line) for line in _JUDGED.read_text(encoding="utf-8").splitlines()]
    encoder = MeaningEncoder.load(None)
    entries = list(library.values())
    between = np.triu(encoder.embed(entries) @ encoder.embed(entries).T, 1)
    left = encoder.embed([library[one["id"]] for one in judged])
    right = encoder.embed([f"{one['title']}: {one['text']}" for one in judged])
    cosines = (left * right).sum(axis=1)
    same = np.array([one["same"] for one in judged])
    return {
        "likeness": DEFAULT_LIKENESS,
        "paraphrases": int(same.sum()),
        "paraphrases_found": int((cosines[same] >= DEFAULT_LIKENESS).sum()),
        "others": int((~same).sum()),
        "others_found": int((cosines[~same] >= DEFAULT_LIKENESS).sum()),
        "pairs_of_the_library_found": int((between >= DEFAULT_LIKENESS).sum()),
        "likest_pair_of_the_library": round(float(between.max()), 3),
    }


def timed_merge(size: int, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One run of the command in a process of its own, its answer checked."""
    raw, out = folder / f"raw-{size}.jsonl", folder / f"out-{size}.jsonl"
    write_raw(raw_guidelines(size, seed=options.seed, share_new=options.share_new), raw)
    command = ["library", "merge", str(raw), "--out", str(out), "--json"]
    done = subprocess.run([sys.executable, "-c", _RUN, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    left = near_duplicates_left(read_guidelines([out]), options.seed)
    return {
        "guidelines": size,
        "seconds": summary["seconds"],
        "peak_megabytes": int(done.stderr.split()[-1]) // 1024,
        "stay": summary["stay"],
        "went": summary["went"],
        "sampled": min(_SAMPLE, summary["stay"]),
        "sampled_with_a_near_duplicate_left": left,
    }


def near_duplicates_left(records: Sequence[GuidelineRecord], seed: int) -> int:
    """How many of a sample of guidelines have a near-duplicate before them that they could have gone into."""
    entries = [record.entry for record in records]
    chosen = np.random.default_rng(seed).permutation(len(records))[:_SAMPLE]
    ratios = cdist([entries[row] for row in chosen], entries, scorer=Indel.normalized_similarity, workers=2)
    left = 0
    for row, near in zip(chosen.tolist(), ratios, strict=True):
        others = np.flatnonzero(near[:row] >= DEFAULT_RATIO).tolist()
        left += any(_could_merge(records[row], records[other]) for other in others)
    return left


def growth_exponent(runs: Sequence[dict[str, Any]]) -> float | None:
    """The power of the number of guidelines with which time grows; 1 is linear. None for one run."""
    if len(runs) < 2:
        return None
    sizes, seconds = (np.log([run[name] for run in runs]) for name in ("guidelines", "seconds"))
    return round(float(np.polyfit(sizes, seconds, 1)[0]), 2)


def _could_merge(one: GuidelineRecord, other: GuidelineRecord) -> bool:
    return one.kind == other.kind and not opposite(tagged_stance(one.tags), tagged_stance(other.tags))


def _share(found: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> float:
    return round(float(found[wanted].mean()), 5) if wanted.any() else 1.0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.library_merge", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--share-new", type=float, default=0.2, help="subjects for each guideline")
    parser.add_argument("--exhaustive", type=int, default=5_000, help="guidelines that are compared all with all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scratch", type=Path, help="folder for raw guidelines; the system's own without it")
    parser.add_argument("--out", type=Path, help="file for the result")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])

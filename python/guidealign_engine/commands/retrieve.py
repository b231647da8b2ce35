"""`guidealign retrieve`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guidealign_engine.commands import options, show
from guidealign_engine.commands.prompts import answered, read_prompts
from guidealign_engine.loading import load_engine
from guidealign_engine.query import Prompt
from guidealign_engine.results import Batch, Retrieval

# The first request of a process is slower than all later ones, and says little about them.
WARM_UP = "What should I know before I start?"


def retrieve(
    prompts: options.Prompts = None,
    file: options.File = None,
    bundle: options.BundleFolder = None,
    k: options.K = 6,
    min_score: options.MinScore = None,
    duplicate_ratio: options.DuplicateRatio = None,
    keep_duplicates: options.KeepDuplicates = False,
    kind: options.Kinds = None,
    tag: options.Tags = None,
    diversity: options.Diversity = 0.0,
    threads: options.Threads = 1,
    device: options.Device = "cpu",
    batch_size: options.BatchSize = 64,
    as_json: options.AsJson = False,
) -> None:
    """Find the guidelines that matter for each prompt.

    guidealign retrieve "How do I pick a lock?"

    guidealign retrieve --kind safety --k 3 --file prompts.txt

    guidealign retrieve --json < conversations.jsonl > found.jsonl
    """
    asked = read_prompts(prompts, file)
    finding = options.finding_options(
        k=k,
        min_score=min_score,
        duplicate_ratio=duplicate_ratio,
        keep_duplicates=keep_duplicates,
        kinds=kind,
        tags=tag,
        diversity=diversity,
    )
    engine = load_engine(bundle, device=device, threads=threads)

    def answer(batch: Sequence[Prompt]) -> Batch[Retrieval]:
        return engine.retrieve_batch(batch, **finding)

    answer([WARM_UP])
    batches = answered(asked, batch_size, answer)
    if as_json:
        show.print_json(batches, retrieval_record)
    else:
        show.print_for_people(batches, show.retrieval)


def retrieval_record(found: Retrieval) -> dict[str, Any]:
    """What `--json` says about a prompt, beside the prompt itself and the times."""
    return {"guidelines": [guideline.as_dict() for guideline in found.guidelines], "risk": found.risk}

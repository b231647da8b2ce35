"""`guidealign assemble`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from guidealign_engine.commands import options, show
from guidealign_engine.commands.prompts import PlacedPrompt, answered, read_prompts
from guidealign_engine.commands.retrieve import WARM_UP, retrieval_record
from guidealign_engine.config import Output, Placement, PromptConfig
from guidealign_engine.errors import ConfigError
from guidealign_engine.loading import load_engine
from guidealign_engine.query import Prompt
from guidealign_engine.results import Batch, GuidedPrompt
from guidealign_engine.target import TargetTokenizer

_WRITING = "Writing"
_WORDS = PromptConfig()


def assemble(
    prompts: options.Prompts = None,
    output: Annotated[
        Output, typer.Option("--output", "-o", help="What a finished prompt is made of.", rich_help_panel=_WRITING)
    ] = Output.MESSAGES,
    placement: Annotated[
        Placement, typer.Option("--placement", help="Where the guidelines stand.", rich_help_panel=_WRITING)
    ] = Placement.SYSTEM,
    max_guideline_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-guideline-tokens",
            metavar="N",
            help="Bound for the block of guidelines, in tokens of --tokenizer, or of the bundle's own.",
            rich_help_panel=_WRITING,
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            "--tokenizer",
            metavar="FILE",
            help="The tokenizer.json of the model that will read the prompt.",
            rich_help_panel=_WRITING,
        ),
    ] = None,
    chat_format: Annotated[
        str | None,
        typer.Option(
            "--chat-format",
            metavar="NAME",
            help="chatml or llama3, for conversations as text or token ids.",
            rich_help_panel=_WRITING,
        ),
    ] = None,
    opening: Annotated[
        str, typer.Option("--opening", help="Marks the start of the block.", rich_help_panel=_WRITING)
    ] = _WORDS.opening,
    header: Annotated[
        str, typer.Option("--header", help="First line of the block.", rich_help_panel=_WRITING)
    ] = _WORDS.header,
    bullet: Annotated[
        str, typer.Option("--bullet", help="Stands before each guideline.", rich_help_panel=_WRITING)
    ] = _WORDS.bullet,
    closing: Annotated[
        str, typer.Option("--closing", help="Marks the end of the block.", rich_help_panel=_WRITING)
    ] = _WORDS.closing,
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
    """Put the guidelines that matter into each prompt.

    guidealign assemble "How do I pick a lock?"

    guidealign assemble --output text --chat-format chatml --file conversations.jsonl

    guidealign assemble --output token_ids --tokenizer tokenizer.json --max-guideline-tokens 200 --json "Hello"
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
    if output is Output.TOKEN_IDS and tokenizer is None:
        raise typer.BadParameter("--output token_ids needs --tokenizer, the tokenizer.json of the model")
    if output is not Output.MESSAGES and chat_format is None:
        asked = _without_conversations(asked, output)
    engine = load_engine(bundle, device=device, threads=threads)
    target = None if tokenizer is None else TargetTokenizer(tokenizer, chat_format=chat_format)
    words = PromptConfig(opening=opening, header=header, bullet=bullet, closing=closing)

    def answer(batch: Sequence[Prompt]) -> Batch[GuidedPrompt]:
        return engine.assemble_batch(
            batch,
            output=output,
            placement=placement,
            max_guideline_tokens=max_guideline_tokens,
            target=target,
            chat_format=chat_format,
            prompt=words,
            **finding,
        )

    answer([WARM_UP])
    batches = answered(asked, batch_size, answer)
    if as_json:
        show.print_json(batches, _record)
    else:
        show.print_for_people(batches, show.guided_prompt)


def _without_conversations(prompts: Iterator[PlacedPrompt], output: Output) -> Iterator[PlacedPrompt]:
    for item in prompts:
        if not isinstance(item.prompt, str):
            raise ConfigError(f"{item.place}: --output {output} of a conversation needs --chat-format, such as chatml")
        yield item


def _record(guided: GuidedPrompt) -> dict[str, Any]:
    finished = guided.prompt
    return {
        **retrieval_record(guided.retrieval),
        "guided": finished.tolist() if isinstance(finished, np.ndarray) else finished,
    }

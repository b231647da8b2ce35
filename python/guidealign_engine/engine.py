"""From prompts to guidelines, and to guided prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import pairwise
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.batches import RankedBatch, SelectedBatch, TokenBatch
from guidealign_engine.blocks import TextBlocks, TokenBlocks, TokenCosts
from guidealign_engine.bundle import Manifest
from guidealign_engine.chat import ChatFormat, choose_chat_format
from guidealign_engine.config import (
    MAX_K,
    NO_THRESHOLDS,
    Kind,
    Output,
    Placement,
    PromptConfig,
    QueryConfig,
    RerankConfig,
    SearchConfig,
    SelectConfig,
    WindowConfig,
    check_count,
    choose,
    choose_kinds,
    thresholds_for,
)
from guidealign_engine.devices import ON_CPU
from guidealign_engine.encoder import Encoder
from guidealign_engine.errors import ConfigError
from guidealign_engine.index import CandidateIndex
from guidealign_engine.library import Library
from guidealign_engine.prompt import guided_messages, guided_text, guided_token_ids
from guidealign_engine.query import Prompt, check_batch, query_texts
from guidealign_engine.rerank import rerank
from guidealign_engine.results import Batch, GuidedPrompt, Retrieval, retrievals_of
from guidealign_engine.select import select
from guidealign_engine.target import TargetTokenizer
from guidealign_engine.timing import StageTimer
from guidealign_engine.tokenizer import QueryTokenizer
from guidealign_engine.windows import choose_windows, cut_into_windows, fold_windows

if TYPE_CHECKING:
    from guidealign_engine.gpu.stages import GpuStages

_MAX_BUDGET = 1_000_000
_SMALLEST_SLICE = 8
_PREPARED_KEPT = 16
_FILTERS_KEPT = 64
_OPTIONS_KEPT = 64
# A bool, or 6.0 for k, would find the key of the number that it equals, and is refused as an option.
_PLAIN_TYPES = frozenset({int, float, type(None)})

Key = TypeVar("Key")
Made = TypeVar("Made")
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Options that hold for all requests of an engine."""

    query: QueryConfig = field(default_factory=QueryConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    rerank: RerankConfig = field(default_factory=RerankConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)


@dataclass(frozen=True, slots=True)
class _Filter:
    """What kinds and tags leave over: a byte a guideline for select, a bit a vector for the index."""

    guidelines: NDArray[np.uint8]
    vectors: NDArray[np.uint8]


class Engine:
    """Finds guidelines for prompts and puts them there. Made by `load_engine`; many threads may call one engine.

    An answer depends on its prompt alone: not on the batch that the prompt came in, nor on the number of threads.
    """

    def __init__(
        self,
        *,
        manifest: Manifest,
        library: Library,
        tokenizer: QueryTokenizer,
        encoder: Encoder,
        index: CandidateIndex,
        config: EngineConfig,
        threads: int,
        gpu: GpuStages | None = None,
    ) -> None:
        self.manifest = manifest
        self.library = library
        self.config = config
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._index = index
        self._gpu = gpu
        self.devices = gpu.devices if gpu else ON_CPU
        self._threads = threads
        self._workers = ThreadPoolExecutor(threads - 1, "guidealign") if threads > 1 else None
        self._lock = Lock()
        self._filters: dict[tuple[frozenset[Kind] | None, frozenset[str] | None], _Filter] = {}
        self._plain_options: dict[tuple[int, float | None, float | None, float], SelectConfig] = {}
        self._text_blocks: dict[PromptConfig, TextBlocks] = {}
        self._token_blocks: dict[tuple[PromptConfig, TargetTokenizer], TokenBlocks] = {}
        self._costs: dict[PromptConfig, TokenCosts] = {}
        self._blocks_for(config.prompt)

    def retrieve_batch(
        self,
        prompts: Sequence[Prompt],
        *,
        k: int = 6,
        min_score: float | None = None,
        duplicate_ratio: float | None = 0.5,
        kinds: Iterable[str] | None = None,
        tags: Iterable[str] | None = None,
        diversity: float = 0.0,
    ) -> Batch[Retrieval]:
        """The guidelines that matter for each prompt, best first; at most k, and none where none fits.

        A prompt without any text, or a conversation without a user turn, finds nothing.

        prompts: strings, or conversations as lists of chat messages.
        min_score: None for the bundle's calibrated thresholds; -1.0 switches every cut off, so that k come back.
        duplicate_ratio: Indel ratio from which the later of two texts is left out; None keeps all.
        kinds, tags: only guidelines of one of the kinds, and with one of the tags.
        diversity: from 0, by score alone, to 1, by distance from what was taken before.

        Raises ConfigError for an option out of range, PromptError for a prompt that cannot be read, saying which.
        """
        options = self._options(k, min_score, duplicate_ratio, kinds, tags, diversity)

        def answer(part: Sequence[Prompt], first: int) -> Batch[Retrieval]:
            timer = StageTimer()
            selected = self._select(part, options, None, timer, first)
            return Batch(retrievals_of(self.library, selected), timer.laps_us)

        return self._over_threads(prompts, answer)

    def assemble_batch(
        self,
        prompts: Sequence[Prompt],
        *,
        output: str = "messages",
        placement: str = "system",
        max_guideline_tokens: int | None = None,
        target: TargetTokenizer | None = None,
        chat_format: str | ChatFormat | None = None,
        prompt: PromptConfig | None = None,
        k: int = 6,
        min_score: float | None = None,
        duplicate_ratio: float | None = 0.5,
        kinds: Iterable[str] | None = None,
        tags: Iterable[str] | None = None,
        diversity: float = 0.0,
    ) -> Batch[GuidedPrompt]:
        """Each prompt with its guidelines in it, in library order; unchanged where no guideline fits.

        output: "messages"; "text", for conversations in `chat_format`; or "token_ids" of `target`.
        placement: "system" (in the first system message), "before_last_user" or "after_last_user".
        max_guideline_tokens: bound for the whole block, counted by `target` if there is one, otherwise by the bundle's
        tokenizer; guidelines that do not fit give way to shorter ones further down.
        prompt: the words around the guidelines. The other options are those of `retrieve_batch`.

        Raises ConfigError for an option out of range, PromptError for a prompt that cannot be read, saying which.
        """
        options = self._options(k, min_score, duplicate_ratio, kinds, tags, diversity)
        chosen = choose(Output, output, "output")
        place = choose(Placement, placement, "placement")
        if max_guideline_tokens is not None:
            check_count("max_guideline_tokens", max_guideline_tokens, 0, _MAX_BUDGET)
        if chosen is Output.TOKEN_IDS and target is None:
            raise ConfigError('output "token_ids" needs target, a TargetTokenizer of the model that will read them')
        text_format = choose_chat_format(chat_format)
        blocks = self._blocks_for(prompt or self.config.prompt)
        markers = blocks.config.markers
        costs = None if max_guideline_tokens is None else self._costs_for(blocks, target)

        def answer(part: Sequence[Prompt], first: int) -> Batch[GuidedPrompt]:
            timer = StageTimer()
            selected = self._select(part, options, costs, timer, first, max_guideline_tokens)
            guided: list[Any]
            if chosen is Output.TOKEN_IDS and target is not None:
                ids = self._token_blocks_for(blocks, target).assemble(selected)
                guided = [
                    guided_token_ids(item, block, place, markers, target, first + row)
                    for row, (item, block) in enumerate(zip(part, ids, strict=True))
                ]
            else:
                texts = zip(part, blocks.assemble(selected), strict=True)
                if chosen is Output.MESSAGES:
                    guided = [
                        guided_messages(item, block, place, markers, first + row)
                        for row, (item, block) in enumerate(texts)
                    ]
                else:
                    guided = [
                        guided_text(item, block, place, markers, text_format, first + row)
                        for row, (item, block) in enumerate(texts)
                    ]
            timer.lap("assemble")
            retrievals = retrievals_of(self.library, selected)
            return Batch(list(map(GuidedPrompt, guided, retrievals)), timer.laps_us)

        return self._over_threads(prompts, answer)

    def rank_batch(self, prompts: Sequence[Prompt], *, k: int = 6) -> RankedBatch:
        """All candidates of each prompt with their scores, before anything is selected; for calibration and evaluation.

        k: as many candidates are looked at as `retrieve_batch` looks at for it. Raises what `retrieve_batch` raises.
        """
        check_count("k", k, 1, MAX_K)
        check_batch(prompts)
        return self._rank(prompts, k, None, StageTimer(), 0)

    def _select(
        self,
        prompts: Sequence[Prompt],
        options: SelectConfig,
        costs: TokenCosts | None,
        timer: StageTimer,
        first: int,
        max_guideline_tokens: int | None = None,
    ) -> SelectedBatch:
        """The stages, one after the other."""
        allowed = self._filter_for(options) if options.filters else None
        ranked = self._rank(prompts, options.k, allowed, timer, first)
        selected = select(
            ranked,
            self.library,
            options,
            allowed=allowed.guidelines if allowed else None,
            token_costs=costs.lines if costs else None,
            token_budget=max_guideline_tokens - costs.around if costs and max_guideline_tokens is not None else None,
        )
        timer.lap("select")
        return selected

    def _rank(
        self, prompts: Sequence[Prompt], k: int, allowed: _Filter | None, timer: StageTimer, first: int
    ) -> RankedBatch:
        """The stages up to the exact scores."""
        texts = query_texts(prompts, self.config.query, first=first)
        texts, window_offsets = cut_into_windows(texts, self.config.windows)
        timer.lap("query")
        tokens, windows = self._tokenizer.encode(texts), None
        if window_offsets is not None:
            salience = self._tokenizer.salience
            tokens, windows = choose_windows(tokens, window_offsets, salience, self.config.windows)
        timer.lap("tokenize")
        pool = max(self.config.search.pool_size, self.config.search.pool_per_k * k)
        if self._gpu is not None:
            ranked = self._gpu.rank(tokens, pool, allowed.vectors if allowed else None, timer)
        else:
            ranked = self._rank_tokens(tokens, pool, allowed, timer)
        if windows is not None:
            ranked = fold_windows(ranked, windows)
            timer.lap("rerank")
        return ranked

    def _rank_tokens(self, tokens: TokenBatch, pool: int, allowed: _Filter | None, timer: StageTimer) -> RankedBatch:
        vectors = self._encoder.embed(tokens)
        timer.lap("encode")
        candidates = self._index.search(vectors, pool, allowed_vectors=allowed.vectors if allowed else None)
        if tokens.has_empty:
            # A text without a token has no direction to search in.
            candidates[tokens.lengths == 0] = -1
        timer.lap("search")
        ranked = rerank(vectors, candidates, self.library, self.config.rerank)
        timer.lap("rerank")
        return ranked

    def _options(
        self,
        k: int,
        min_score: float | None,
        duplicate_ratio: float | None,
        kinds: Iterable[str] | None,
        tags: Iterable[str] | None,
        diversity: float,
    ) -> SelectConfig:
        if isinstance(tags, str):
            raise ConfigError(f"tags is the string {tags!r}; give a list, such as [{tags!r}]")
        key = (k, min_score, duplicate_ratio, diversity)
        if kinds is None and tags is None and type(k) is int and _PLAIN_TYPES.issuperset(map(type, key)):
            return self._kept(self._plain_options, key, lambda: self._new_options(*key, None, None), _OPTIONS_KEPT)
        return self._new_options(k, min_score, duplicate_ratio, diversity, kinds, tags)

    def _new_options(
        self,
        k: int,
        min_score: float | None,
        duplicate_ratio: float | None,
        diversity: float,
        kinds: Iterable[str] | None,
        tags: Iterable[str] | None,
    ) -> SelectConfig:
        return SelectConfig(
            k=k,
            thresholds=thresholds_for(min_score, self.manifest.thresholds or NO_THRESHOLDS),
            risk=self.manifest.risk,
            duplicate_ratio=duplicate_ratio,
            diversity=diversity,
            kinds=choose_kinds(kinds),
            tags=None if tags is None else frozenset(tags),
        )

    def _filter_for(self, options: SelectConfig) -> _Filter:
        def make() -> _Filter:
            guidelines = self.library.allowed(options.kinds, options.tags)
            vectors = np.packbits(guidelines[self.library.owners], bitorder="little")
            return _Filter(guidelines, vectors)

        return self._kept(self._filters, (options.kinds, options.tags), make, _FILTERS_KEPT)

    def _blocks_for(self, prompt: PromptConfig) -> TextBlocks:
        return self._kept(self._text_blocks, prompt, lambda: TextBlocks.prepare(self.library, prompt), _PREPARED_KEPT)

    def _token_blocks_for(self, blocks: TextBlocks, target: TargetTokenizer) -> TokenBlocks:
        key = (blocks.config, target)
        return self._kept(self._token_blocks, key, lambda: TokenBlocks.prepare(blocks, target), _PREPARED_KEPT)

    def _costs_for(self, blocks: TextBlocks, target: TargetTokenizer | None) -> TokenCosts:
        if target is not None:
            return TokenCosts.of(self._token_blocks_for(blocks, target))
        return self._kept(
            self._costs, blocks.config, lambda: TokenCosts.count(blocks, self._tokenizer.count), _PREPARED_KEPT
        )

    def _kept(self, kept: dict[Key, Made], key: Key, make: Callable[[], Made], limit: int) -> Made:
        """What was made for the key before, or is made now; the oldest gives way."""
        found = kept.get(key)
        if found is not None:
            return found
        made = make()
        with self._lock:
            while len(kept) >= limit:
                del kept[next(iter(kept))]
            kept[key] = made
        return made

    def _over_threads(
        self, prompts: Sequence[Prompt], answer: Callable[[Sequence[Prompt], int], Batch[Item]]
    ) -> Batch[Item]:
        """The batch in slices, one a thread; each slice goes through all stages on its own."""
        check_batch(prompts)
        workers = self._workers
        count = 1 if workers is None else min(self._threads, len(prompts) // _SMALLEST_SLICE)
        if workers is None or count < 2:
            return answer(prompts, 0)
        bounds = [part * len(prompts) // count for part in range(count + 1)]
        slices = [(prompts[begin:end], begin) for begin, end in pairwise(bounds)]
        futures = [workers.submit(answer, *part) for part in slices[1:]]
        # This thread would only wait: waking one more takes longer than many a slice.
        try:
            own = answer(*slices[0])
        finally:
            wait(futures)
        batches = [own, *(future.result() for future in futures)]
        timings: dict[str, float] = {}
        for batch in batches:
            for stage, microseconds in batch.timings_us.items():
                timings[stage] = timings.get(stage, 0.0) + microseconds
        return Batch([item for batch in batches for item in batch.items], timings)

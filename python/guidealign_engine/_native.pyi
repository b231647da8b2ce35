import numpy as np
from numpy.typing import NDArray

RISK_CANDIDATES: int

def active_kernel() -> str: ...
def available_kernels() -> list[str]: ...
def use_kernel(name: str) -> None: ...
def indel_ratio(left: NDArray[np.uint16], right: NDArray[np.uint16], alphabet_size: int) -> float: ...

class WordPiece:
    def __init__(self, pieces: list[str], *, unknown: int, max_word_characters: int, drops_controls: bool) -> None: ...
    def encode(self, texts: list[str], max_tokens: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...

class Bigrams:
    def __init__(self, pairs: NDArray[np.int32], *, first_id: int) -> None: ...
    def append(
        self, ids: NDArray[np.int64], offsets: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...

class WindowOptions:
    def __init__(self, *, most: int, end_bonus: float, cost: float) -> None: ...

class Library:
    def __init__(
        self,
        *,
        vectors: NDArray[np.float16] | NDArray[np.int8],
        scales: NDArray[np.float32],
        owners: NDArray[np.int32],
        vector_offsets: NDArray[np.int64],
        priority: NDArray[np.float32],
        kinds: NDArray[np.uint8],
        symbols: NDArray[np.uint8] | NDArray[np.uint16],
        symbol_offsets: NDArray[np.int64],
        alphabet_size: int,
    ) -> None: ...

class RerankOptions:
    def __init__(self, *, smooth: bool, smooth_temperature: float, prior_weight: float) -> None: ...

class RiskModel:
    def __init__(self, *, bias: float, safety: float, quality: float, temperature: float) -> None: ...

class SelectOptions:
    def __init__(
        self,
        *,
        k: int,
        min_safety_score: float,
        min_quality_score: float,
        relative_cut: float,
        duplicate_ratio: float,
        diversity: float,
        risk: RiskModel | None,
        min_risk: float,
        max_risk: float,
    ) -> None: ...

def rerank(
    library: Library,
    queries: NDArray[np.float32],
    candidates: NDArray[np.int64],
    options: RerankOptions,
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int64], NDArray[np.int32]]: ...
def select(
    library: Library,
    guidelines: NDArray[np.int32],
    scores: NDArray[np.float32],
    matched: NDArray[np.int64],
    counts: NDArray[np.int32],
    allowed: NDArray[np.uint8],
    token_costs: NDArray[np.int32],
    token_budget: int | None,
    options: SelectOptions,
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]: ...
def choose_windows(
    ids: NDArray[np.int64],
    token_offsets: NDArray[np.int64],
    offsets: NDArray[np.int64],
    salience: NDArray[np.float32],
    options: WindowOptions,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]: ...
def fold_windows(
    guidelines: NDArray[np.int32],
    scores: NDArray[np.float32],
    matched: NDArray[np.int64],
    counts: NDArray[np.int32],
    offsets: NDArray[np.int64],
    penalties: NDArray[np.float32],
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int64], NDArray[np.int32]]: ...
def padded_runs(
    ids: NDArray[np.int64], offsets: NDArray[np.int64], most_ids: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]]: ...

class TextBlockWriter:
    def __init__(
        self,
        *,
        opening: str,
        bullet: str,
        entries: NDArray[np.uint8],
        entry_offsets: NDArray[np.int64],
        separator: str,
        closing: str,
    ) -> None: ...
    def assemble(self, guidelines: NDArray[np.int32], counts: NDArray[np.int32]) -> list[str]: ...

def assemble_token_blocks(
    guidelines: NDArray[np.int32],
    counts: NDArray[np.int32],
    *,
    opening: NDArray[np.int32],
    bullet: NDArray[np.int32],
    entries: NDArray[np.int32],
    entry_offsets: NDArray[np.int64],
    separator: NDArray[np.int32],
    closing: NDArray[np.int32],
) -> tuple[NDArray[np.int32], NDArray[np.int64]]: ...

class MarkerFinder:
    def __init__(self, markers: list[str]) -> None: ...
    def find(self, text: str) -> int: ...

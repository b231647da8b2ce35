"""Options of the stages: frozen, checked where they are made, trusted afterwards."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from guidealign_engine import _native
from guidealign_engine.errors import ConfigError


class Kind(StrEnum):
    """What a guideline protects. The order is that of the codes in a bundle."""

    SAFETY = "safety"
    QUALITY = "quality"


class Fold(StrEnum):
    """How the scores of a guideline's vectors become the guideline's score."""

    BEST = "best"
    SMOOTH = "smooth"


class Placement(StrEnum):
    """Where the guidelines stand in the prompt."""

    SYSTEM = "system"
    BEFORE_LAST_USER = "before_last_user"
    AFTER_LAST_USER = "after_last_user"


class Output(StrEnum):
    """What a guided prompt is made of."""

    MESSAGES = "messages"
    TEXT = "text"
    TOKEN_IDS = "token_ids"


Choice = TypeVar("Choice", bound=StrEnum)


def choose(kind: type[Choice], value: str, name: str) -> Choice:
    """The member that a string names. Raises ConfigError with the allowed ones."""
    try:
        return kind(value)
    except ValueError:
        raise ConfigError(f"{name} is {value!r}; allowed: {', '.join(kind)}") from None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raises ConfigError unless low <= value <= high; a NaN never is."""
    if not _is_number(value) or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}; it must lie between {low:g} and {high:g}")


def check_count(name: str, value: int, low: int, high: int) -> None:
    """Raises ConfigError unless value is a whole number from low to high."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}; it must be a whole number from {low} to {high}")


MAX_K = 1000
_KEEP_DUPLICATES = 2.0
_LARGEST_WEIGHT = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryConfig:
    """How much of a prompt is read.

    Every character read costs time whatever is done with it later, so a very long prompt is cut before: its start and
    its end are kept, since instructions stand at either.
    """

    max_characters: int = 16_384
    head_share: float = 0.5

    def __post_init__(self) -> None:
        check_count("max_characters", self.max_characters, 16, 1_000_000)
        check_range("head_share", self.head_share, 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowConfig:
    """How a prompt with more than `characters` is cut into windows, and which of them are searched for."""

    characters: int = 400
    most: int = 4
    """Windows of a prompt that are searched for."""
    most_other: int = 8
    """Windows of a prompt that are read although they are not ASCII, which takes ten times as long; half of them from
    the start, half from the end."""
    end_bonus: float = 6.0
    """What the first and the last window have ahead: requests stand at either end."""
    cost: float = 0.05
    """What a window's scores lose for each point that it lies behind the likeliest."""
    native: _native.WindowOptions = field(init=False, repr=False, compare=False)
    """The same for the core"""

    def __post_init__(self) -> None:
        check_count("characters", self.characters, 16, 1_000_000)
        check_count("most", self.most, 1, 1000)
        check_count("most_other", self.most_other, 2, 1_000_000)
        check_range("end_bonus", self.end_bonus, 0.0, 1000.0)
        check_range("cost", self.cost, 0.0, 1.0)
        native = _native.WindowOptions(most=self.most, end_bonus=self.end_bonus, cost=self.cost)
        object.__setattr__(self, "native", native)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """How many candidates the index proposes, and how far an IVF index looks for them."""

    pool_size: int = 48
    pool_per_k: int = 8
    nprobe: int | None = None
    """None takes what was chosen when the bundle was built."""

    def __post_init__(self) -> None:
        check_count("pool_size", self.pool_size, 1, 100_000)
        check_count("pool_per_k", self.pool_per_k, 1, 1000)
        if self.nprobe is not None:
            check_count("nprobe", self.nprobe, 1, 1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankConfig:
    """How the exact scores of a guideline's vectors, and its priority, become one score."""

    fold: Fold = Fold.BEST
    smooth_temperature: float = 0.05
    prior_weight: float = 0.05
    native: _native.RerankOptions = field(init=False, repr=False, compare=False)
    """The same for the kernel"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "fold", choose(Fold, self.fold, "fold"))
        if not self.smooth_temperature > 0:
            raise ConfigError(f"smooth_temperature is {self.smooth_temperature!r}; it must be above 0")
        check_range("prior_weight", self.prior_weight, 0.0, 1.0)
        native = _native.RerankOptions(
            smooth=self.fold is Fold.SMOOTH,
            smooth_temperature=self.smooth_temperature,
            prior_weight=self.prior_weight,
        )
        object.__setattr__(self, "native", native)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which score a guideline is shown. Calibrated when a bundle is built."""

    safety: float = -1.0
    quality: float = -1.0
    relative: float = 0.0
    """Drops guidelines that score below this share of the best one."""
    min_risk: float = 0.0
    """Safety guidelines are shown from this risk on, if the bundle has a risk model."""
    max_risk: float = 1.0
    """Quality guidelines are shown up to this risk."""

    def __post_init__(self) -> None:
        check_range("thresholds.safety", self.safety, -1.0, 1.0)
        check_range("thresholds.quality", self.quality, -1.0, 1.0)
        for name in ("relative", "min_risk", "max_risk"):
            check_range(f"thresholds.{name}", getattr(self, name), 0.0, 1.0)


NO_THRESHOLDS = Thresholds()


@dataclass(frozen=True, slots=True)
class RiskModel:
    """How likely a request needs a safety guideline: 1 / (1 + exp(-(bias + safety * s + quality * q))).

    s and q say how well each kind of the best 48 candidates fits: temperature * log(mean(exp(score / temperature))),
    with the lowest of these scores for one of the other kind. Fitted when a bundle is calibrated.
    """

    bias: float
    safety: float
    quality: float
    temperature: float = 0.0
    """0, as in early bundles, for the mean score of the three best candidates of each kind."""

    def __post_init__(self) -> None:
        for name in ("bias", "safety", "quality"):
            check_range(f"risk.{name}", getattr(self, name), -_LARGEST_WEIGHT, _LARGEST_WEIGHT)
        check_range("risk.temperature", self.temperature, 0.0, 1.0)

    @property
    def native(self) -> _native.RiskModel:
        """The same for the kernel"""
        return _native.RiskModel(bias=self.bias, safety=self.safety, quality=self.quality, temperature=self.temperature)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectConfig:
    """What is taken from the ranked guidelines of one request."""

    k: int = 6
    thresholds: Thresholds = NO_THRESHOLDS
    risk: RiskModel | None = None
    duplicate_ratio: float | None = 0.5
    diversity: float = 0.0
    kinds: frozenset[Kind] | None = None
    tags: frozenset[str] | None = None
    native: _native.SelectOptions = field(init=False, repr=False, compare=False)
    """The same for the kernel"""

    def __post_init__(self) -> None:
        check_count("k", self.k, 1, MAX_K)
        if self.duplicate_ratio is not None and not (
            _is_number(self.duplicate_ratio) and 0 < self.duplicate_ratio <= 1
        ):
            raise ConfigError(
                f"duplicate_ratio is {self.duplicate_ratio!r}; it must be above 0 and at most 1, "
                "or None to keep near-duplicates"
            )
        check_range("diversity", self.diversity, 0.0, 1.0)
        for name in ("kinds", "tags"):
            if getattr(self, name) == frozenset():
                raise ConfigError(f"{name} is empty, so nothing could be found; give at least one, or None for all")
        # A filter leaves too little of a kind to tell the risk from.
        risk = None if self.filters else self.risk
        native = _native.SelectOptions(
            k=self.k,
            min_safety_score=_lowest_score(self.thresholds.safety),
            min_quality_score=_lowest_score(self.thresholds.quality),
            relative_cut=self.thresholds.relative,
            duplicate_ratio=_KEEP_DUPLICATES if self.duplicate_ratio is None else self.duplicate_ratio,
            diversity=self.diversity,
            risk=None if risk is None else risk.native,
            min_risk=self.thresholds.min_risk,
            max_risk=self.thresholds.max_risk,
        )
        object.__setattr__(self, "native", native)

    @property
    def filters(self) -> bool:
        return self.kinds is not None or self.tags is not None


def _lowest_score(threshold: float) -> float:
    """A threshold of -1 is none: with a low priority, a score may lie even lower."""
    return -math.inf if threshold <= -1.0 else threshold


def thresholds_for(min_score: float | None, calibrated: Thresholds) -> Thresholds:
    """The bundle's own for None; otherwise one threshold for both kinds, with -1 switching every cut off."""
    if min_score is None:
        return calibrated
    if not _is_number(min_score) or not -1.0 <= min_score <= 1.0:
        raise ConfigError(
            f"min_score is {min_score!r}; it must lie between -1 and 1, or be None for the bundle's thresholds"
        )
    relative = 0.0 if min_score <= -1.0 else calibrated.relative
    return Thresholds(min_score, min_score, relative)


def choose_kinds(kinds: Iterable[str] | None) -> frozenset[Kind] | None:
    """A filter by kind. Raises ConfigError for an unknown one and for a bare string."""
    if kinds is None:
        return None
    if isinstance(kinds, str):
        raise ConfigError(f"kinds is the string {kinds!r}; give a list, such as [{kinds!r}]")
    return frozenset(choose(Kind, kind, "kinds") for kind in kinds)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptConfig:
    """The words around the guidelines.

    `opening` and `closing` mark the block. No text of a user or of a guideline can hold them: a backslash is put
    behind their first character wherever they occur.
    """

    opening: str = "<guidelines>"
    header: str = "Follow these guidelines where they apply to the request. Do not mention them."
    bullet: str = "- "
    closing: str = "</guidelines>"
    markers: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        for name in ("opening", "closing"):
            marker = getattr(self, name)
            if len(marker) < 2 or not marker.isascii() or not marker.isprintable() or "\\" in marker:
                raise ConfigError(
                    f"{name} is {marker!r}; it must be at least 2 printable ASCII characters and no backslash"
                )
        if "\n" in self.bullet:
            raise ConfigError(f"bullet is {self.bullet!r}; it must not hold a line break")
        object.__setattr__(self, "markers", (self.opening, self.closing))

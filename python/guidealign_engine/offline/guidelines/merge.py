"""Which raw guidelines go into which others: the same id, the same text but for a few words, the same meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from guidealign_engine.config import Kind
from guidealign_engine.errors import ArtifactError
from guidealign_engine.offline.guidelines import meaning, near_duplicates
from guidealign_engine.offline.guidelines.first_come import settle
from guidealign_engine.offline.guidelines.guideline_lines import GuidelineLine
from guidealign_engine.offline.guidelines.meaning import MeaningEncoder, MeaningMatches
from guidealign_engine.offline.guidelines.merge_outcome import KINDS, Merge, Way, label_of
from guidealign_engine.offline.guidelines.near_duplicates import DEFAULT_RATIO, NearDuplicates, text_keys
from guidealign_engine.offline.guidelines.stance import Stance, tagged_stance, worded_stance

# Of a subject that comes ten thousand times, hundreds of wordings stay; a text need not be compared with all of them.
_LIKELIEST = 16
_FEW = 128
OnSkip = Callable[[ArtifactError], None]
Report = Callable[[str], None]


def merge_guidelines(
    lines: Iterable[GuidelineLine | ArtifactError],
    *,
    ratio: float = DEFAULT_RATIO,
    likeness: float = meaning.DEFAULT_LIKENESS,
    encoder: MeaningEncoder | None,
    strict: bool = False,
    on_skip: OnSkip,
    report: Report = lambda line: None,
) -> Merge:
    """Keeps the first of guidelines that are alike, and says which ones the others went into.

    ratio: Indel ratio of title and text from which two are near-duplicates.
    likeness: cosine of their vectors from which two say the same. encoder: None leaves that comparison out.
    on_skip: is given what is wrong with a record, and reading goes on after it; `strict` raises it instead.

    A safety and a quality guideline are never merged, nor one that declines and one that helps.
    """
    merge = Merge()
    remembered = NearDuplicates(ratio)
    kept = list[tuple[int, str]]()
    added = _added(merge, lines, strict, on_skip)
    while batch := list(islice(added, near_duplicates.BATCH)):
        kept += _keep_first(merge, remembered, batch)
        report(f"  {len(merge.raw):,} guidelines read, {len(kept):,} of them unlike each other")
    if encoder is not None:
        del remembered
        _merge_by_meaning(merge, kept, encoder, MeaningMatches(likeness), report)
    return merge


def _added(
    merge: Merge, lines: Iterable[GuidelineLine | ArtifactError], strict: bool, on_skip: OnSkip
) -> Iterator[tuple[int, str]]:
    """Number and entry of each guideline that is none before by its id."""
    for line in lines:
        try:
            if isinstance(line, ArtifactError):
                raise line
            number = merge.raw.add(line)
        except ArtifactError as error:
            if strict:
                raise
            merge.skipped += 1
            on_skip(error)
            continue
        record = line.record
        merge.ways.append(Way.STAYS)
        merge.like.append(number)
        merge.likeness.append(1.0)
        merge.labels.append(label_of(KINDS.index(Kind(record.kind)), tagged_stance(record.tags)))
        first = merge.raw.number_of(record.id)
        if first is not None and first != number:
            merge.goes(number, first, Way.ID, 1.0)
        else:
            yield number, record.entry


def _keep_first(merge: Merge, remembered: NearDuplicates, batch: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Those of the batch that stay, which are remembered from now on."""
    numbers = np.array([number for number, _ in batch])
    texts = [text for _, text in batch]
    keys = text_keys(texts)
    with_kept = remembered.pairs(texts, keys, numbers, merge.may_meet, likeliest=_LIKELIEST)
    fresh = NearDuplicates(remembered.ratio)
    unlike = np.flatnonzero(~np.isin(numbers, with_kept.later))
    # A few at a time, since those that are alike among them are all compared with each other.
    for part in np.split(unlike, range(_FEW, len(unlike), _FEW)):
        _remember_first(merge, fresh, [texts[row] for row in part], keys[part], numbers[part])
    stays = np.isin(numbers, fresh.numbers())
    goes = np.flatnonzero(~stays)
    with_fresh = fresh.pairs(
        [texts[row] for row in goes], keys[goes], numbers[goes], merge.may_meet, likeliest=_LIKELIEST
    )
    for number, (into, ratio) in settle([with_kept, with_fresh]).items():
        merge.goes(number, into, Way.TEXT, ratio)
    rows = np.flatnonzero(stays)
    remembered.add([texts[row] for row in rows], keys[rows], numbers[rows])
    return [batch[row] for row in rows.tolist()]


def _remember_first(
    merge: Merge, fresh: NearDuplicates, texts: Sequence[str], keys: NDArray[np.uint64], numbers: NDArray[np.int64]
) -> None:
    """Adds the first of texts that are alike, unless one like it is there already."""
    among = NearDuplicates(fresh.ratio)
    among.add(texts, keys, numbers)
    like_fresh = fresh.pairs(texts, keys, numbers, merge.may_meet, likeliest=1)
    gone = settle([like_fresh, among.pairs(texts, keys, numbers, merge.may_meet)])
    rows = [row for row, number in enumerate(numbers.tolist()) if number not in gone]
    fresh.add([texts[row] for row in rows], keys[rows], numbers[rows])


def _merge_by_meaning(
    merge: Merge, kept: Sequence[tuple[int, str]], encoder: MeaningEncoder, matches: MeaningMatches, report: Report
) -> None:
    for start in range(0, len(kept), meaning.BATCH):
        batch = kept[start : start + meaning.BATCH]
        known = encoder.knows([text for _, text in batch])
        merge.strange += int((~known).sum())
        batch = [each for each, is_known in zip(batch, known, strict=True) if is_known]
        numbers = np.array([number for number, _ in batch], dtype=np.int64)
        if not len(numbers):
            continue
        for number, text in batch:
            kind, stance = divmod(merge.labels[number], len(Stance))
            merge.labels[number] = label_of(kind, Stance(stance) or worded_stance(text))
        vectors = encoder.embed([text for _, text in batch])
        gone = settle([matches.pairs(vectors, numbers, merge.may_meet)])
        for number, (into, cosine) in gone.items():
            merge.goes(number, into, Way.MEANING, cosine)
        stays = ~np.isin(numbers, list(gone))
        matches.add(vectors[stays], numbers[stays])
        report(f"  {start + len(known):,} of {len(kept):,} compared by meaning, {len(matches):,} stay")

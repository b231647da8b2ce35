"""What `guidealign build all` reads: checked before any long step, with a digest of each kind of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from guidealign_engine.calibration import check_enough, needs_of
from guidealign_engine.config import Kind
from guidealign_engine.errors import ConfigError
from guidealign_engine.guideline_files import read_guidelines
from guidealign_engine.held_out_pairs import read_dev_pairs
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.offline.retriever.material import training_pairs
from guidealign_engine.offline.retriever.teacher_config import TrainingInput
from guidealign_engine.offline.retriever.texts import read_texts
from guidealign_engine.pairs import Pair, read_pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class AllMaterial:
    """Guidelines, pairs of all splits, and unlabelled texts."""

    records: Sequence[GuidelineRecord]
    pairs: Sequence[Pair]
    dev: Sequence[Pair]
    inputs: Sequence[TrainingInput]
    texts: Sequence[str]
    harmless: Sequence[str]
    passages: Sequence[str]
    digests: Mapping[str, str]
    """By what a user would call it: guidelines, train pairs, dev pairs, texts, harmless texts, passages."""

    @property
    def training_digests(self) -> dict[str, str]:
        return {name: self.digests[name] for name in ("guidelines", "train pairs", "texts")}


def read_all_material(
    guidelines: Sequence[Path],
    pairs: Sequence[Path],
    texts: Sequence[Path],
    harmless: Sequence[Path],
    passages: Sequence[Path] = (),
) -> AllMaterial:
    """Reads and checks everything.

    Raises ArtifactError naming file and line of what cannot be read, and ConfigError for pairs of unknown guidelines, a
    library without training inputs, an empty dev split or one too small to calibrate, inputs that are in two splits or
    are examples too, and texts of which none is left.
    """
    records = read_guidelines(guidelines)
    labelled = read_pairs(pairs)
    dev = read_dev_pairs(pairs, {record.id for record in records})
    inputs = training_pairs(records, labelled)[0]
    if not inputs:
        raise ConfigError(
            "the train split is empty: no guideline has examples and no train pair names a guideline; "
            "give either, since the encoder learns from them"
        )
    check_enough(needs_of({record.id: record.kind for record in records}, dev)[Kind.SAFETY])
    drawn, presumed, asking_nothing = (list(read_texts(paths)) for paths in (texts, harmless, passages))
    if not drawn:
        raise ConfigError(f"{', '.join(map(str, texts))}: there is no text in it; give JSON lines with a text field")
    return AllMaterial(
        records=records,
        pairs=labelled,
        dev=dev,
        inputs=inputs,
        texts=drawn,
        harmless=presumed,
        passages=asking_nothing,
        digests={
            "guidelines": _digest(map(repr, records)),
            "train pairs": _digest(repr(pair) for pair in labelled if pair.split == "train"),
            "dev pairs": _digest(map(repr, dev)),
            "texts": _digest(drawn),
            "harmless texts": _digest(presumed),
            "passages": _digest(asking_nothing),
        },
    )


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:32]

"""Training material from guidelines and pairs: which input belongs to which guideline."""

from __future__ import annotations

from collections.abc import Sequence

from guidealign_engine.config import Kind
from guidealign_engine.errors import ConfigError
from guidealign_engine.held_out_pairs import plain
from guidealign_engine.library import GuidelineRecord
from guidealign_engine.offline.retriever.static_student import DevInputs
from guidealign_engine.offline.retriever.teacher_config import TeacherMaterial, TrainingInput
from guidealign_engine.pairs import Pair

# Inputs written to be harmless are few, and worth more than texts that merely are presumed so.
_HARMLESS_REPEATS = 10


def training_pairs(records: Sequence[GuidelineRecord], pairs: Sequence[Pair]) -> tuple[list[TrainingInput], list[str]]:
    """Examples and train pairs with their guidelines' positions, and the train pairs for which none fits.

    Raises ConfigError for a pair that names an unknown guideline, and for an input that is in another split as well.
    """
    positions = {record.id: row for row, record in enumerate(records)}
    train = [pair for pair in pairs if pair.split == "train"]
    unknown = sorted({id for pair in pairs for id in pair.positive} - positions.keys())
    if unknown:
        raise ConfigError(
            f"pairs name {len(unknown)} guidelines that the library lacks, such as {', '.join(unknown[:3])}; "
            "give all guideline files, or take these pairs out"
        )
    _check_leaks(records, train, [pair for pair in pairs if pair.split != "train"])
    labelled = [(example, [row]) for row, record in enumerate(records) for example in record.examples]
    labelled += [(pair.input, [positions[id] for id in pair.positive]) for pair in train if pair.positive]
    inputs = [
        TrainingInput(text, rows, any(records[row].kind == Kind.SAFETY for row in rows))
        for text, rows in _united(labelled)
    ]
    return inputs, [pair.input for pair in train if not pair.positive]


def _united(labelled: Sequence[tuple[str, Sequence[int]]]) -> list[tuple[str, tuple[int, ...]]]:
    """One of each input that differs in case, spaces and punctuation alone, with the guidelines of all of them."""
    texts: dict[str, str] = {}
    rows: dict[str, dict[int, None]] = {}
    for text, own in labelled:
        # What is nothing but punctuation stays itself.
        key = plain(text) or text
        texts.setdefault(key, text)
        rows.setdefault(key, {}).update(dict.fromkeys(own))
    return [(text, tuple(rows[key])) for key, text in texts.items()]


def dev_inputs(records: Sequence[GuidelineRecord], pairs: Sequence[Pair]) -> DevInputs | None:
    """Inputs of the dev split for which a guideline fits; None without any."""
    positions = {record.id: row for row, record in enumerate(records)}
    dev = [pair for pair in pairs if pair.split == "dev" and pair.positive]
    if not dev:
        return None
    return DevInputs([pair.input for pair in dev], [[positions[id] for id in pair.positive] for pair in dev])


def teacher_material(
    records: Sequence[GuidelineRecord],
    pairs: Sequence[Pair],
    texts: Sequence[str],
    presumed_harmless: Sequence[str],
) -> TeacherMaterial:
    """What a teacher is trained on. Raises what `training_pairs` raises."""
    inputs, harmless = training_pairs(records, pairs)
    return TeacherMaterial(
        entries=[record.entry for record in records],
        inputs=inputs,
        harmless=[*harmless * _HARMLESS_REPEATS, *presumed_harmless],
        texts=texts,
    )


def _check_leaks(records: Sequence[GuidelineRecord], train: Sequence[Pair], held_out: Sequence[Pair]) -> None:
    """No held-out input may be trained on, however it is spaced, cased or punctuated."""
    trained = {plain(pair.input) for pair in train}
    trained |= {plain(example) for record in records for example in record.examples}
    leaked = [pair for pair in held_out if plain(pair.input) in trained]
    if leaked:
        raise ConfigError(
            f"{len(leaked)} inputs of split dev or test are training inputs or examples as well, such as "
            f"{leaked[0].input[:80]!r}; take them out of one side"
        )

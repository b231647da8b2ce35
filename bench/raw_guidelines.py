"""Raw guidelines as a model writes them, many for the same thing: the real ones, reworded at random by a seed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from guidealign_engine.guideline_files import read_guidelines
from guidealign_engine.library import GuidelineRecord

REAL = Path(__file__).parents[1] / "library/guidelines"
_SPREAD = 0.8
_GROUPS = """user person asker reader requester
explain describe set-out lay-out clarify
refuse decline turn-down reject
offer propose suggest put-forward
help assist support
harm damage injury
dangerous hazardous risky unsafe
illegal unlawful criminal
give provide supply hand-over
avoid steer-clear-of shun
never under-no-circumstances not-ever
answer reply response
ask enquire query
plainly clearly openly frankly
people persons individuals humans
about on regarding concerning
show demonstrate present display
instead rather alternatively
without lacking free-of
keep retain preserve hold
state say mention note
mark label flag indicate
real actual genuine true
plan scheme plot arrangement
point direct refer guide
private personal confidential
name identify cite
check verify confirm test
write draft compose produce
request demand wish
short brief concise
before ahead-of prior-to
services agencies organisations
law legislation statute
lawful legal permitted
children minors kids youngsters
first initially to-begin-with
risk danger hazard threat
facts evidence information details
kind gentle warm friendly
only solely just merely
leave-out omit skip drop
wrong incorrect mistaken false
simple easy plain basic
example sample instance
treat regard handle
use employ apply
make create build
any every each
question enquiry query
text passage wording
change alter modify edit
find locate discover
need require want
professional expert specialist
encourage urge advise press
""".splitlines()
_SYNONYMS = {
    word.replace("-", " "): [other.replace("-", " ") for other in group.split() if other != word]
    for group in _GROUPS
    for word in group.split()
}


def raw_guidelines(count: int, *, seed: int, share_new: float = 0.2) -> Iterator[GuidelineRecord]:
    """`count` guidelines in random order: a few subjects come very often, most come seldom.

    share_new: subjects for each guideline. A subject is a clause of one real guideline, a clause of another and words
    of a third, so that subjects share wording as real ones do.
    """
    rng = np.random.default_rng(seed)
    real = read_guidelines([REAL])
    words = sorted({word for record in real for word in re.findall(r"\b[a-z]{5,}", record.text)})
    subjects = [_subject(real, words, rng) for _ in range(max(1, int(count * share_new)))]
    # Popularity falls as a power of the rank.
    weights = (1.0 + np.arange(len(subjects))) ** -_SPREAD
    for number, subject in enumerate(rng.choice(len(subjects), count, p=weights / weights.sum()).tolist()):
        record = reworded(subjects[subject], words, rng)
        yield replace(record, id=f"raw-{number}", source=f"model output {number}")


def reworded(record: GuidelineRecord, words: Sequence[str], rng: np.random.Generator) -> GuidelineRecord:
    """The same guideline in other words: from a single changed word to hardly any that is the same."""
    strength = float(rng.uniform(0.0, 0.45))
    text = record.text
    if rng.random() < 0.3 * strength:
        text = _reordered(text)
    title = record.title if rng.random() > strength else _changed(record.title, words, 0.5, rng)
    examples = tuple(_changed(example, words, 0.2, rng) for example in record.examples[:1])
    return replace(record, title=title, text=_changed(text, words, strength, rng), examples=examples)


def write_raw(records: Iterator[GuidelineRecord], file: Path) -> None:
    """JSON lines, as `guidealign library merge` reads them."""
    with file.open("w", encoding="utf-8") as lines:
        for record in records:
            lines.write(json.dumps(asdict(record), ensure_ascii=False) + "\n")


def _subject(real: Sequence[GuidelineRecord], words: Sequence[str], rng: np.random.Generator) -> GuidelineRecord:
    one, two = (real[place] for place in rng.integers(len(real), size=2))
    firsts, seconds = _clauses(one.text), _clauses(two.text)
    text = " ".join([*firsts[: (len(firsts) + 1) // 2], *seconds[len(seconds) // 2 :]])
    title = _changed(one.title, words, 0.4, rng)
    return replace(one, title=title, text=_replaced(text, words, float(rng.uniform(0.0, 0.3)), rng))


def _clauses(text: str) -> list[str]:
    return re.split(r"(?<=[,;:.])\s+", text)


def _reordered(text: str) -> str:
    first, *rest = _clauses(text)
    return " ".join([*rest, first])


def _changed(text: str, words: Sequence[str], strength: float, rng: np.random.Generator) -> str:
    """Words replaced by synonyms or others, dropped, put in, exchanged with the next one."""
    found = text.split()
    changed = list[str]()
    for word in found:
        if rng.random() >= strength:
            changed.append(word)
            continue
        way = rng.random()
        known = _SYNONYMS.get(word.strip(",.;:").lower())
        if known is not None and way < 0.7:
            changed.append(known[int(rng.integers(len(known)))])
        elif way < 0.4:
            changed.append(words[int(rng.integers(len(words)))])
        elif way < 0.6:
            changed += [word, words[int(rng.integers(len(words)))]]
        elif way < 0.8:
            changed.append(word)
            changed[-2:] = changed[-2:][::-1]
    return " ".join(changed) or text


def _replaced(text: str, words: Sequence[str], share: float, rng: np.random.Generator) -> str:
    return " ".join(
        words[int(rng.integers(len(words)))] if len(word) > 4 and rng.random() < share else word
        for word in text.split()
    )

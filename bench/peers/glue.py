"""What one writes by hand around an index: fold to guidelines, leave near-duplicates out, fill a template."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import jinja2
from rapidfuzz.fuzz import ratio

from bench.peers.task import CANDIDATES, SHOWN, Guided, Task

HEADER = "Follow these guidelines where they apply to the request. Do not mention them."
_DUPLICATE_RATIO = 50
_TEMPLATE = f"""<guidelines>
{HEADER}
{{% for entry in entries -%}}
- {{{{ entry }}}}
{{% endfor -%}}
</guidelines>"""


class Glue:
    """Candidates to a guided prompt, with rapidfuzz and a compiled Jinja2 template."""

    def __init__(self, entries: Sequence[str], owners: Sequence[int]) -> None:
        self.entries = entries
        self._owners = owners
        self._template = jinja2.Environment(autoescape=False).from_string(_TEMPLATE)

    @classmethod
    def of(cls, task: Task) -> Glue:
        return cls(task.entries, task.owners)

    def guided(self, prompt: str, nearest: Iterable[int]) -> Guided:
        """The prompt as chat messages. nearest: texts, best first; those below 0 are none."""
        return self.with_guidelines(prompt, self.kept(self._owners[text] for text in nearest if text >= 0))

    def kept(self, guidelines: Iterable[int]) -> list[int]:
        """The first six of the first twenty guidelines that have an Indel ratio below 0.5 to all before them."""
        kept: list[int] = []
        for candidate in list(dict.fromkeys(guidelines))[:CANDIDATES]:
            entry = self.entries[candidate]
            if all(ratio(entry, self.entries[other]) < _DUPLICATE_RATIO for other in kept):
                kept.append(candidate)
                if len(kept) == SHOWN:
                    break
        return kept

    def with_guidelines(self, prompt: str, kept: list[int]) -> Guided:
        system = self._template.render(entries=[self.entries[position] for position in kept])
        return Guided([{"role": "system", "content": system}, {"role": "user", "content": prompt}], kept)

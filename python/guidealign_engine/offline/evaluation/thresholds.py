"""What held-out inputs are shown at a bundle's thresholds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guidealign_engine.config import Kind
from guidealign_engine.engine import Engine
from guidealign_engine.pairs import Pair


def shown_by_kind(engine: Engine, pairs: Sequence[Pair]) -> dict[str, float]:
    """By kind: the share of inputs that are shown a guideline of it, among those that one fits and the others.

    `<kind>_found` and `<kind>_false_alarms`; one that no input could tell is left out.
    """
    library = engine.library
    kinds = {record.id: record.kind for record in map(library.record, range(len(library)))}
    retrievals = engine.retrieve_batch([pair.input for pair in pairs])
    shares = {}
    for kind in Kind:
        fits = np.array([any(kinds.get(id) == kind for id in pair.positive) for pair in pairs], dtype=np.bool_)
        shown = np.array([any(one.kind == kind for one in each.guidelines) for each in retrievals], dtype=np.bool_)
        for name, among in ((f"{kind}_found", fits), (f"{kind}_false_alarms", ~fits)):
            if among.any():
                shares[name] = float(shown[among].mean())
    return shares

"""Of texts that are alike the first one stays."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from guidealign_engine.offline.guidelines.near_duplicates import Pairs


def settle(found: Iterable[Pairs]) -> dict[int, tuple[int, float]]:
    """For each text that goes: the one that stays and is most like it, of equally alike ones the first, and how alike.

    found: all pairs of the later texts; an earlier text that is in no pair as the later one stays.
    """
    pairs = list(found)
    later = np.concatenate([each.later for each in pairs])
    earlier = np.concatenate([each.earlier for each in pairs])
    ratios = np.concatenate([each.ratios for each in pairs])
    gone = dict[int, tuple[int, float]]()
    # By later text, so that the fate of every earlier one is known; then the most alike first.
    order = np.lexsort((earlier, -ratios, later))
    for one, other, ratio in zip(later[order].tolist(), earlier[order].tolist(), ratios[order].tolist(), strict=True):
        if one not in gone and other not in gone:
            gone[one] = (other, ratio)
    return gone

"""Losses of the teacher's training, and the prototypes that it is trained for."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the offline extra is not installed")

from torch.nn.functional import cross_entropy, normalize  # noqa: E402

from guidealign_engine.building import folded  # noqa: E402
from guidealign_engine.offline.retriever.contrast import Contrast, Loss, shortened  # noqa: E402
from guidealign_engine.offline.retriever.prototypes import Prototypes  # noqa: E402
from guidealign_engine.offline.retriever.teacher_losses import near_copies  # noqa: E402

# Four guidelines, two inputs: the first finds 0, and 2 fits it as well; the second finds 1.
SCORES = torch.tensor([[0.6, 0.5, 0.9, -0.2], [0.1, 0.3, 0.2, 0.4]])
CHOSEN = torch.tensor([0, 1])
FITTING = torch.tensor([[True, False, True, False], [False, True, False, False]])
NO_NEGATIVE = FITTING & ~torch.nn.functional.one_hot(CHOSEN, 4).bool()


def by_hand(row: int, compared: list[int], temperature: float) -> float:
    """Cross entropy of the row's own guideline, which comes first, among those named."""
    return float(cross_entropy(SCORES[row, compared][None] / temperature, torch.tensor([0])))


@pytest.mark.parametrize(
    ("contrast", "compared"),
    [
        (Contrast(loss=Loss.LIBRARY), ([0, 1, 3], [1, 0, 2, 3])),
        (Contrast(loss=Loss.HARD, hard_negatives=1), ([0, 1], [1, 3])),
        (Contrast(loss=Loss.HARD, hard_negatives=2), ([0, 1, 3], [1, 3, 2])),
        (Contrast(loss=Loss.IN_BATCH), ([0, 1], [1, 0])),
        (Contrast(loss=Loss.LIBRARY, temperature=0.5), ([0, 1, 3], [1, 0, 2, 3])),
    ],
    ids=str,
)
def test_each_loss_compares_with_its_own_negatives(contrast: Contrast, compared: tuple[list[int], list[int]]) -> None:
    expected = np.mean([by_hand(row, places, contrast.temperature) for row, places in enumerate(compared)])
    assert float(contrast(SCORES, CHOSEN, NO_NEGATIVE)) == pytest.approx(expected, abs=1e-5)
    assert float(contrast(SCORES, CHOSEN, FITTING)) == pytest.approx(expected, abs=1e-5)  # its own may be marked too


def test_the_margin_is_from_the_hardest_negatives() -> None:
    contrast = Contrast(loss=Loss.MARGIN, hard_negatives=2, margin=0.2)
    # The first: 1 lies 0.1 below its own, 3 far away. The second: 3 lies 0.1 above, 2 lies 0.1 below.
    assert float(contrast(SCORES, CHOSEN, NO_NEGATIVE)) == pytest.approx((0.1 + 0.0 + 0.3 + 0.1) / 4, abs=1e-6)


def test_what_fits_as_well_gets_no_gradient() -> None:
    for loss in Loss:
        scores = SCORES.clone().requires_grad_(True)
        Contrast(loss=loss, hard_negatives=3)(scores, CHOSEN, NO_NEGATIVE).backward()
        assert scores.grad is not None
        assert scores.grad[0, 2] == 0.0
        assert scores.grad[0, 0] < 0.0 < scores.grad[0, 1]


def test_shorter_vectors_are_unit_vectors_of_the_first_elements() -> None:
    vectors = torch.tensor([[3.0, 4.0, 12.0]])
    assert shortened(vectors, 2).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]


def unit(*shape: int) -> torch.Tensor:
    return normalize(torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))), dim=1)


def test_prototypes_are_what_a_bundle_folds_without_the_input_itself() -> None:
    guidelines_of = [(0,), (0, 1), (1,), (0,)]
    entries, inputs = unit(3, 8), unit(4, 8)
    prototypes = Prototypes(guidelines_of, 3, 8)
    prototypes.keep([0, 1, 2, 3], unit(5, 8)[:4])
    prototypes.keep([0, 1, 2, 3], inputs)  # in place of what was kept before
    scores = prototypes.scores(inputs, entries, [0, 1, 2, 3])
    for row in range(4):
        for guideline in range(3):
            own = [at for at in range(4) if guideline in guidelines_of[at] and at != row]
            vectors = torch.cat([entries[guideline][None], inputs[own]]).numpy()
            (prototype,) = folded(vectors, np.zeros(len(vectors), dtype=np.int32))
            assert float(scores[row, guideline]) == pytest.approx(float(inputs[row].numpy() @ prototype), abs=1e-5)


def test_an_input_that_was_not_seen_yet_is_in_no_prototype() -> None:
    entries, inputs = unit(2, 8), unit(3, 8)
    prototypes = Prototypes([(0,), (0,), (1,)], 2, 8)
    assert torch.allclose(prototypes.scores(inputs, entries, [0, 1, 2]), inputs @ entries.T, atol=1e-6)


def test_near_copies_of_a_guideline_are_no_negatives_of_it() -> None:
    lock = "Refuse to pick a lock that is not the user's own, and offer the locksmith."
    assert near_copies([lock, "Bake at the right heat.", lock.replace("the locksmith", "a locksmith")]) == [
        [0, 2],
        [1],
        [2, 0],
    ]

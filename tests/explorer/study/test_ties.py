"""A member of a front that costs more is a tie unless the held-out images show that it is better."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from explorer.study.record import FrontPoint
from explorer.study.ties import find_ties
from tests.explorer.study.test_front import points

OBJECTIVES = ("accuracy", "energy", "weight_memory")
IMAGES = 200


def right(count: int, first: int = 0) -> np.ndarray:
    """Return the scores of a network that has so many images right, from the first on."""
    scores = np.zeros(IMAGES)
    scores[first : first + count] = 1.0
    return scores


def front(*costs: tuple[float, int]) -> tuple[FrontPoint, ...]:
    return points(*((0.5, energy, size) for energy, size in costs))


@pytest.mark.parametrize(("more", "is_tie"), [(1, True), (5, True), (6, False), (40, False)])
def test_it_takes_six_images_of_six_to_show_that_a_network_is_better(more: int, is_tie: bool) -> None:
    """The two-sided probability of McNemar's test is 2/2^5 = .0625 for five of five, and .03125 for six of six."""
    scores = {"p01": right(100), "p02": right(100 + more)}
    found = find_ties(front((1.0, 10), (2.0, 20)), OBJECTIVES, scores)
    assert found == ({"p02": "p01"} if is_tie else {})


def test_a_tie_is_with_a_network_that_is_no_tie_and_costs_no_more_by_any_objective() -> None:
    """Of a row of small steps each third is shown to be better than the first; what costs less memory is no rival."""
    scores = {"p01": right(100), "p02": right(104), "p03": right(108), "p04": right(50)}
    spent = ((1.0, 10), (2.0, 20), (3.0, 30), (4.0, 5))
    assert find_ties(front(*spent), OBJECTIVES, scores) == {"p02": "p01"}
    assert find_ties(front(*spent[:3], (4.0, 10)), OBJECTIVES, scores) == {"p02": "p01", "p04": "p01"}


def test_every_tie_is_what_the_binomial_coefficients_say() -> None:
    random = np.random.default_rng(0)
    for _ in range(30):
        spent = [(float(energy), int(size)) for energy, size in zip(range(1, 7), random.integers(1, 9, 6), strict=True)]
        of = front(*spent)
        scores = {
            each.name: (random.random(IMAGES) < 0.5 + 0.05 * place).astype(float) for place, each in enumerate(of)
        }
        found = find_ties(of, OBJECTIVES, scores)
        for name, other in found.items():
            assert other not in found
            cheap, dear = spent[int(other[1:]) - 1], spent[int(name[1:]) - 1]
            assert all(low <= high for low, high in zip(cheap, dear, strict=True))
            gained, lost = int((scores[name] > scores[other]).sum()), int((scores[name] < scores[other]).sum())
            assert sum(math.comb(gained + lost, count) for count in range(lost + 1)) / 2 ** (gained + lost) >= 0.025
        for one, two in itertools.combinations([each.name for each in of if each.name not in found], 2):
            if all(low <= high for low, high in zip(spent[int(one[1:]) - 1], spent[int(two[1:]) - 1], strict=True)):
                assert scores[two].mean() > scores[one].mean()

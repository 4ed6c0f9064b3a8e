"""A network is scored on as many images as it takes, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.sampled import SampledScore, score_sample
from explorer.evaluate.sampling import FIRST_WAVE, SampleOrder

COUNT = 4000


def made(wrong: float, seed: int) -> tuple[SampleOrder, np.ndarray]:
    """Return an order, and the scores of a network that is wrong on a share of what the float network knows."""
    random = np.random.default_rng(seed)
    margins = np.abs(random.normal(4.0, 2.5, COUNT))
    reference = (random.random(COUNT) < 0.95).astype(float)
    lost = random.random(COUNT) < 2.0 * wrong * np.exp(-margins / 4.0)
    return SampleOrder.of(reference, margins, seed), np.where(lost, 0.0, reference)


def scored(order: SampleOrder, scores: np.ndarray, error: float, rival: np.ndarray | None = None) -> SampledScore:
    seen: list[int] = []

    def score_some(images: np.ndarray) -> np.ndarray:
        seen.extend(images)
        return np.take(scores, images)

    found = score_sample(order, score_some, error, rival)
    assert seen == list(order.order[: len(seen)])  # each image once
    assert np.array_equal(found.scores, scores[seen])
    return found


def test_it_ends_with_the_first_wave_whose_error_is_small_enough() -> None:
    order, scores = made(0.02, 0)
    found = scored(order, scores, 0.007)
    assert found.mean.sampling_error <= 0.007
    waves = order.waves()
    before = waves[waves.index(len(found.scores)) - 1]
    assert order.estimate(scores[order.order[:before]]).sampling_error > 0.007
    assert len(found.scores) < COUNT / 4


def test_without_an_error_every_image_is_scored() -> None:
    order, scores = made(0.02, 0)
    assert scored(order, scores, 0.0).mean == MeanScore.of(scores)


def test_a_hopeless_network_ends_early_and_says_so() -> None:
    for seed in range(10):
        (order, good), (_, bad) = made(0.01, seed), made(0.5, seed)
        rival = good[order.order]
        found = scored(order, bad, 0.0001, rival)
        assert found.beaten
        assert len(found.scores) <= 2 * FIRST_WAVE
        assert found.mean.population == COUNT


@pytest.mark.parametrize("seen", [FIRST_WAVE, 432, COUNT])
def test_one_that_does_as_well_as_its_rival_is_beaten_once_in_a_thousand_looks(seen: int) -> None:
    wrong = 0
    for seed in range(150):
        order, scores = made(0.1, seed)
        swapped = np.random.default_rng(seed).random(COUNT) < 0.05
        rival = np.where(swapped, scores[::-1], scores)
        if rival.mean() <= scores.mean():
            wrong += scored(order, scores, 0.0001, rival[order.order[:seen]]).beaten
    assert wrong <= 2


def test_a_better_network_is_never_beaten() -> None:
    order, scores = made(0.01, 1)
    assert not scored(order, scores, 0.0001, made(0.3, 1)[1][order.order]).beaten

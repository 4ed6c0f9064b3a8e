"""Paired scores: the exact test against McNemar's and against all signs one by one, and the error of a loss by hand."""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import pytest

from explorer.evaluate.paired import find_loss_error, probability_of_no_less


@pytest.mark.parametrize(("better", "worse"), [(0, 1), (0, 8), (3, 9), (5, 5), (40, 80), (300, 200), (0, 5000)])
def test_of_right_and_wrong_images_it_is_mcnemars_exact_test(better: int, worse: int) -> None:
    differences = np.concatenate([np.ones(better), -np.ones(worse), np.zeros(17)])
    total = better + worse
    expected = sum(math.comb(total, count) for count in range(better + 1)) / 2**total
    assert probability_of_no_less(differences) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_of_weighted_differences_it_counts_all_signs() -> None:
    for seed in range(20):
        differences = np.random.default_rng(seed).integers(-64, 65, 10) / 64
        differences[0] = -1.0
        sums = [float((np.abs(differences) * signs).sum()) for signs in itertools.product((-1, 1), repeat=10)]
        expected = np.mean(np.array(sums) <= differences.sum() + 1e-9)
        assert probability_of_no_less(differences) == pytest.approx(expected, rel=1e-9)


def test_it_does_not_depend_on_the_scale_nor_on_the_order() -> None:
    differences = np.random.default_rng(0).normal(-0.2, 1.0, 200)
    assert probability_of_no_less(differences) == pytest.approx(probability_of_no_less(7.0 * differences[::-1]))


def test_no_difference_tells_nothing() -> None:
    assert probability_of_no_less(np.zeros(9)) == probability_of_no_less(np.zeros(0)) == 1.0


def test_the_error_of_a_loss_by_hand() -> None:
    """Of 98 pairs 7 are right before alone and 3 after alone: 7.5 and 3.5 of 100."""
    before, after = np.ones(98), np.ones(98)
    after[:7], before[7:10] = 0.0, 0.0
    assert find_loss_error(before, after) == pytest.approx(math.sqrt(11.0 - 16.0 / 100.0) / 100.0)
    assert find_loss_error(before, before) == pytest.approx(math.sqrt(1.0) / 100.0)


def test_the_error_of_a_loss_is_that_of_the_mean_difference() -> None:
    random = np.random.default_rng(0)
    before = random.random(400)
    after = np.clip(before - 0.1 * random.random(400), 0.0, 1.0)
    differences = (before - after).tolist()
    assert find_loss_error(before, after) == pytest.approx(statistics.stdev(differences) / 20.0)
    many, some = np.tile([0.0, 1.0, 1.0], 4000), np.tile([0.0, 1.0, 0.0, 1.0], 3000)
    expected = statistics.stdev((many - some).tolist()) / math.sqrt(12_000)
    assert find_loss_error(many, some) == pytest.approx(expected, rel=1e-3)
    assert find_loss_error(np.array([0.5]), np.array([0.25])) == 0.5

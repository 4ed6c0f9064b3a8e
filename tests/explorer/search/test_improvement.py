"""What points add to a front: hypervolumes by hand, and the best one whatever bounds were known."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.search.improvement import Attained, sort_undominated_first, spread_corners

UNIT = (np.zeros(2), np.ones(2))


def test_gains_are_differences_of_hypervolume() -> None:
    front = Attained(spread_corners(*UNIT, 20_000), 0.2, 1)
    front.add(np.array([[0.5, 0.5]]), np.array([[0.6]]))
    costs, scores = np.array([[0.25, 0.5], [0.5, 0.5], [0.0, 0.0], [0.9, 0.9]]), np.array([[0.6, 0.8, 0.2, 0.6]])
    # New are: a quarter of the costs' width at .4 above the least; the same costs at .2 more; nothing; nothing.
    expected = [0.25 * 0.5 * 0.4, 0.5 * 0.5 * 0.2, 0.0, 0.0]
    assert front.measure_gains(costs, scores) == pytest.approx(expected, abs=2e-3)


def test_gains_are_expected_over_draws() -> None:
    front = Attained(spread_corners(*UNIT, 2000), 0.0, 2)
    assert front.measure_gains(np.zeros((1, 2)), np.array([[1.0], [0.0]])) == pytest.approx([0.5])


def test_a_copy_changes_alone() -> None:
    front = Attained(spread_corners(*UNIT), 0.0, 1)
    other = front.copy()
    other.add(np.zeros((1, 2)), np.ones((1, 1)))
    assert (other.best == 1.0).all()
    assert (front.best == 0.0).all()


def test_the_best_is_found_whatever_it_added_before_others_came() -> None:
    random = np.random.default_rng(0)
    front = Attained(spread_corners(np.zeros(3), np.ones(3)), 0.0, 4)
    costs, scores = random.random((200, 3)), random.random((4, 200))
    bounds = front.measure_gains(costs, scores)
    for _ in range(10):
        found, gain = front.find_best(costs, scores, bounds)
        gains = front.measure_gains(costs, scores)
        assert gains[found] == gains.max() == pytest.approx(gain)
        front.add(costs[[found]], scores[:, [found]])


def test_corners_are_spread_evenly() -> None:
    corners = spread_corners(np.array([1.0, 10.0]), np.array([2.0, 30.0]), 400)
    counts = np.bincount(np.floor((corners - [1.0, 10.0]) / [0.2, 4.0]).astype(int) @ [5, 1], minlength=25)
    assert counts.sum() == 400
    assert counts.min() >= 12


def test_undominated_points_come_first_in_their_order() -> None:
    scores, costs = np.array([0.5, 0.9, 0.5, 0.8]), np.array([[2.0], [3.0], [1.0], [3.5]])
    order, num_undominated = sort_undominated_first(scores, costs)
    assert (order.tolist(), num_undominated) == ([1, 2, 0, 3], 2)

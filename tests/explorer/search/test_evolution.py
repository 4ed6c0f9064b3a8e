"""NSGA-II on arrays: fronts by brute force, and what it finds of a front that is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from explorer.arrays import Float64Array, Int64Array
from explorer.pareto import undominated
from explorer.search.evolution import evolve, rank

SIZES = np.array([7] * 10 + [1])


def evaluate(populations: Sequence[Int64Array]) -> list[Float64Array]:
    """Two objectives whose front are the points with all indices 0 or 6, besides the last; first half all 0 is out."""
    found = []
    for points in populations:
        away = np.minimum(points[:, :10], 6 - points[:, :10]).sum(1)
        total = points.sum(1)
        values = np.column_stack((total + 3.0 * away, 60.0 - total + 3.0 * away))
        values[total == 0, 0] = np.nan
        found.append(values)
    return found


def test_the_first_front_comes_first_and_what_must_not_be_last() -> None:
    values = np.random.default_rng(0).integers(0, 8, (60, 3)).astype(float)
    values[7, 0] = np.nan
    order = rank(values)
    assert sorted(order.tolist()) == list(range(60))
    known = np.delete(np.arange(60), 7)
    front = set(known[undominated(values[known], of_equal="all")].tolist())
    assert set(order[: len(front)].tolist()) == front
    assert order[-1] == 7


def test_of_a_front_the_ends_come_first() -> None:
    values = np.array([[1.0, 4.0], [2.0, 3.0], [2.1, 2.9], [4.0, 1.0]])
    assert set(rank(values)[:2].tolist()) == {0, 3}


def test_populations_find_the_front_and_repeat_themselves() -> None:
    start = np.full((1, 11), 3)
    start[0, -1] = 0
    first, second = (evolve(start, SIZES, evaluate, 2, 40, 60, np.random.default_rng(seed)) for seed in (0, 0))
    assert all((one == other).all() for one, other in zip(first, second, strict=True))
    for points in first:
        assert len(np.unique(points, axis=0)) == len(points) == 40
        assert ((points >= 0) & (points < SIZES)).all()
        values = evaluate([points])[0]
        assert not np.isnan(values[:, 0]).any()
        assert (np.minimum(points[:, :10], 6 - points[:, :10]).sum(1) <= 1).mean() > 0.9
        assert values[:, 0].min() <= 18
        assert values[:, 1].min() <= 6

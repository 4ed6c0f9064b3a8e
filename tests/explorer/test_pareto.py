"""Undominated points: by the definition, by hand, and the sorted case of two objectives against one pass."""

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.arrays import Float64Array
from explorer.pareto import FEW, ascending_front, undominated
from tests.oracles.pareto import dominates

Row = tuple[float, ...]
GRID = st.one_of(st.integers(0, 4).map(float), st.sampled_from([-0.0, math.inf, math.nan]))  # ties are common
NUMBERS = st.one_of(GRID, st.floats(allow_nan=False))
ROWS = st.integers(1, 5).flatmap(lambda columns: st.lists(st.tuples(*[NUMBERS] * columns), max_size=25))


def array(rows: Sequence[Sequence[float]], columns: int = 2) -> Float64Array:
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(rows[0]) if rows else columns)


@given(ROWS)
def test_undominated_is_what_the_definition_says(rows: list[Row]) -> None:
    stays = [not any(dominates(other, row) for other in rows) for row in rows]
    assert undominated(array(rows), of_equal="all").tolist() == stays
    firsts = [stay and row not in rows[:index] for index, (row, stay) in enumerate(zip(rows, stays, strict=True))]
    with_nan = [any(map(math.isnan, row)) for row in rows]  # equal to nothing
    expected = [first or nan for first, nan in zip(firsts, with_nan, strict=True)]
    assert undominated(array(rows), of_equal="first").tolist() == expected


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_points_does_not_matter(rows: list[Row], random: Any) -> None:
    order = random.sample(range(len(rows)), len(rows))
    kept = undominated(array(rows), of_equal="all")
    assert undominated(array([rows[index] for index in order]), of_equal="all").tolist() == kept[order].tolist()


@pytest.mark.parametrize(
    ("rows", "everything", "first"),
    [
        ([[1.0, 1.0], [1.0, 1.0]], [True, True], [True, False]),
        ([[1.0, 1.0], [1.0, 2.0]], [True, False], [True, False]),
        ([[1.0, 2.0], [2.0, 1.0]], [True, True], [True, True]),
        ([[0.0, 0.0], [math.inf, 0.0]], [True, False], [True, False]),
        ([[0.0, 1.0], [-0.0, 1.0]], [True, True], [True, False]),
        ([[math.nan, 0.0], [1.0, 1.0], [2.0, 2.0]], [True, True, False], [True, True, False]),
        ([], [], []),
    ],
)
def test_undominated_by_hand(rows: list[list[float]], everything: list[bool], first: list[bool]) -> None:
    assert undominated(array(rows), of_equal="all").tolist() == everything
    assert undominated(array(rows), of_equal="first").tolist() == first


@pytest.mark.parametrize("on_the_front", [False, True])
def test_thousands_of_points_take_a_fraction_of_a_second(on_the_front: bool) -> None:
    values = np.random.default_rng(0).random((2000, 5))
    if on_the_front:
        values[:, 4] = -values[:, :4].sum(axis=1)
    started_s = time.process_time()
    kept = undominated(values, of_equal="all")
    assert time.process_time() - started_s < 1.0
    assert kept.all() if on_the_front else 100 < kept.sum() < 1000


@given(st.lists(st.tuples(st.integers(-3, 3).map(float), st.integers(0, 4).map(float)), max_size=30))
def test_the_ascending_front_is_the_first_of_the_undominated_by_cost(points: list[tuple[float, float]]) -> None:
    values = array(points)
    found = ascending_front(values[:, 0], values[:, 1]).tolist()
    assert [points[index] for index in found] == sorted({p for p in points if not any(dominates(o, p) for o in points)})
    assert all(points[index] not in points[:index] for index in found)


@pytest.mark.parametrize("values", [3, 100, 2**40])
@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_of_many_points_those_are_kept_that_one_pass_over_all_keeps(values: int, spread: float) -> None:
    """Many equal costs and losses, or none: the first of equal points stays."""
    draw = np.random.default_rng(0)
    costs, losses = (draw.integers(0, values, FEW + 1).astype(float) for _ in range(2))
    costs = costs * spread + draw.integers(0, 2, len(costs)) * (1 - spread)
    expected: list[int] = []
    least = np.inf
    for _, loss, index in sorted(zip(costs.tolist(), losses.tolist(), range(len(costs)), strict=True)):
        if loss < least:
            expected, least = [*expected, index], loss
    assert ascending_front(costs, losses).tolist() == expected

"""The knapsack: against brute force, and consistent with itself."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.arrays import Float64Array
from explorer.search.knapsack import solve_knapsack

OPTION = st.tuples(st.integers(-50, 50), st.integers(0, 50))
OR_INFINITE = st.tuples(st.integers(-50, 50), st.one_of(st.integers(0, 50), st.just(math.inf)))
INSTANCE = st.lists(st.lists(OPTION, min_size=1, max_size=4), min_size=1, max_size=5)


def split(instance: list[list[tuple[int, int]]]) -> tuple[list[Float64Array], list[Float64Array]]:
    costs = [np.array([cost for cost, _ in item], dtype=np.float64) for item in instance]
    return costs, [np.array([loss for _, loss in item], dtype=np.float64) for item in instance]


def brute_force(instance: list[list[tuple[int, int]]]) -> list[tuple[int, int]]:
    """The undominated (cost, loss) of all combinations, ascending in cost."""
    totals = sorted({(sum(c for c, _ in pick), sum(x for _, x in pick)) for pick in itertools.product(*instance)})
    front: list[tuple[int, int]] = []
    for cost, loss in totals:
        if not front or loss < front[-1][1]:
            front.append((cost, loss))
    return front


@settings(max_examples=200)
@given(INSTANCE)
def test_the_front_is_that_of_brute_force(instance: list[list[tuple[int, int]]]) -> None:
    costs, losses = split(instance)
    solved = solve_knapsack(costs, losses)
    assert list(zip(solved.costs.tolist(), solved.losses.tolist(), strict=True)) == brute_force(instance)
    for index, choice in enumerate(solved.choices.tolist()):
        assert sum(costs[j][option] for j, option in enumerate(choice)) == solved.costs[index]
        assert sum(losses[j][option] for j, option in enumerate(choice)) == solved.losses[index]


@settings(max_examples=100)
@given(INSTANCE, st.integers(-260, 260))
def test_within_a_budget_nothing_loses_less(instance: list[list[tuple[int, int]]], budget: int) -> None:
    solved = solve_knapsack(*split(instance))
    index = solved.within(budget)
    affordable = [loss for cost, loss in brute_force(instance) if cost <= budget]
    assert solved.losses[index] == (min(affordable) if affordable else solved.losses[0])
    assert solved.costs[index] <= budget or index == 0


def test_a_coarse_resolution_stays_near_the_optimum_and_keeps_both_ends() -> None:
    draw = np.random.default_rng(0)
    costs = [np.sort(draw.random(5)) for _ in range(12)]
    losses = [np.sort(draw.random(5))[::-1] for _ in range(12)]
    exact, coarse = solve_knapsack(costs, losses), solve_knapsack(costs, losses, resolution=300)
    assert len(coarse.costs) <= 302 < len(exact.costs)
    assert coarse.costs[0] == pytest.approx(exact.costs[0])
    assert coarse.losses[-1] == pytest.approx(exact.losses[-1])
    step = (exact.costs[-1] - exact.costs[0]) / 300
    for budget in np.linspace(exact.costs[0], exact.costs[-1], 40):
        found = coarse.losses[coarse.within(budget)]
        assert exact.losses[exact.within(budget)] <= found + 1e-9
        assert found <= exact.losses[exact.within(max(budget - 12 * step, exact.costs[0]))] + 1e-9
    for index in (0, 100, -1):
        chosen = coarse.choices[index].tolist()
        assert sum(costs[j][option] for j, option in enumerate(chosen)) == pytest.approx(coarse.costs[index])


def test_no_items_and_no_options_are_refused() -> None:
    for costs in ([], [np.zeros(2), np.zeros(0)]):
        with pytest.raises(ValueError, match="at least one item, and at least one option of finite loss for each"):
            solve_knapsack(costs, costs)


@settings(max_examples=100)
@given(st.lists(st.lists(OR_INFINITE, min_size=1, max_size=4), min_size=1, max_size=5))
def test_an_option_of_infinite_loss_is_never_chosen(instance: list[list[tuple[int, float]]]) -> None:
    costs = [np.array([cost for cost, _ in item], dtype=np.float64) for item in instance]
    losses = [np.array([loss for _, loss in item], dtype=np.float64) for item in instance]
    finite = [[(cost, int(loss)) for cost, loss in item if math.isfinite(loss)] for item in instance]
    if not all(finite):
        with pytest.raises(ValueError, match="at least one option of finite loss"):
            solve_knapsack(costs, losses)
        return
    solved = solve_knapsack(costs, losses)
    assert list(zip(solved.costs.tolist(), solved.losses.tolist(), strict=True)) == brute_force(finite)
    for index, choice in enumerate(solved.choices.tolist()):
        assert sum(losses[j][option] for j, option in enumerate(choice)) == solved.losses[index]


def test_choices_among_many_options_and_points_are_kept_apart() -> None:
    """More options, and more points of a partial front, than a byte or two hold."""
    few, many, one = np.arange(300, dtype=np.float64), np.arange(0, 90_000, 300, dtype=np.float64), np.zeros(1)
    solved = solve_knapsack([few, many, one], [-few, -many, one], resolution=90_000)
    assert solved.choices.tolist() == [[point % 300, point // 300, 0] for point in range(90_000)]


def test_what_was_chosen_takes_a_byte_an_item() -> None:
    """300 layers at 20,000 points are 6 MB then."""
    draw = np.random.default_rng(0)
    solved = solve_knapsack(list(draw.random((20, 5))), list(draw.random((20, 5))), resolution=1000)
    assert solved.choices.nbytes == 20 * len(solved.costs)

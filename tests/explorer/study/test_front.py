"""The front of evaluations, and the points on it that people ask for by name."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer import objectives
from explorer.compress.candidate import Candidate, LayerChoice
from explorer.evaluate.mean_score import MeanScore
from explorer.study import front
from explorer.study.record import Baseline, Cost, Evaluation, FrontPoint
from tests.oracles.pareto import dominates
from tests.support.costs import make_cost

OBJECTIVES = ("accuracy", "energy", "weight_memory")


def cost(energy: float | None = 1.0, weight_bytes: int = 100, **changed: Any) -> Cost:
    """A cost with this energy and memory."""
    stated = {"energy_uj": energy, "latency_ms": 2.0, "weight_bytes": weight_bytes, "activation_bytes": 7}
    return make_cost(**{**stated, **changed})


def evaluation(
    number: int, accuracy: float | None, spent: Cost, violations: tuple[tuple[str, float], ...] = ()
) -> Evaluation:
    """An evaluation; each number has a candidate of its own."""
    choice = LayerChoice(
        layer=f"layer{number}", weight_bits=8, activation_bits=8, weight_density=1.0, codebook_size=None
    )
    return Evaluation(
        number=number,
        origin="nsga2",
        candidate=Candidate(layers=(choice,), filter_keep_ratio=()),
        cost=spent,
        score=None if accuracy is None else MeanScore(value=accuracy, num_images=100),
        violations=violations,
    )


def points(*values: tuple[float, float, int], held_out: Sequence[float] | None = None) -> tuple[FrontPoint, ...]:
    """Members of a front from (accuracy, energy, weight bytes)."""
    return tuple(
        FrontPoint(
            name=f"p{index + 1:02d}",
            evaluation=evaluation(index, accuracy, cost(energy, size)),
            held_out=MeanScore(value=held_out[index] if held_out else accuracy, num_images=100),
        )
        for index, (accuracy, energy, size) in enumerate(values)
    )


def test_losses_are_to_be_minimised() -> None:
    entries = [evaluation(0, 0.9, cost(3.0, 50)), evaluation(1, None, cost(4.0, 60))]
    objectives = ("latency", "accuracy", "energy", "weight_memory", "activation_memory")
    assert front.losses(entries, objectives).tolist() == [[2.0, -0.9, 3.0, 50.0, 7.0], [2.0, 0.0, 4.0, 60.0, 7.0]]
    assert front.losses([], OBJECTIVES).shape == (0, 3)


def test_a_cost_that_does_not_exist_is_nan() -> None:
    assert math.isnan(objectives.OBJECTIVES["energy"].value(cost(None), 0.5))
    assert objectives.OBJECTIVES["accuracy"].value(cost(None), 0.5) == 0.5


def test_equal_costs_are_told_apart_by_the_next_objective() -> None:
    sizes = (300, 100, 200)
    items = [evaluation(index, size / 1000, cost(1.0, size)) for index, size in enumerate(sizes)]
    assert [item.cost.weight_bytes for item in front.front(items, OBJECTIVES)] == [100, 200, 300]


def test_the_front_holds_feasible_scored_points_by_ascending_cost() -> None:
    entries = [
        evaluation(0, 0.9, cost(5.0)),
        evaluation(1, 0.8, cost(2.0)),
        evaluation(2, 0.7, cost(3.0)),  # dominated
        evaluation(3, 1.0, cost(1.0), (("energy_uj", 0.2),)),  # over budget
        evaluation(4, None, cost(0.5)),  # not scored
    ]
    assert [item.number for item in front.front(entries, OBJECTIVES)] == [1, 0]
    assert [item.number for item in front.front(entries, ("energy", "accuracy"))] == [1, 0]


def test_of_equal_points_the_first_is_kept() -> None:
    entries = [evaluation(number, 0.9, cost(5.0)) for number in (4, 2, 7)]
    assert [item.number for item in front.front(entries, OBJECTIVES)] == [4]


@pytest.mark.parametrize(
    "entries", [[], [evaluation(0, None, cost())], [evaluation(0, 0.9, cost(), (("accuracy", 0.05),))]]
)
def test_an_empty_front(entries: list[Evaluation]) -> None:
    assert front.front(entries, OBJECTIVES) == ()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=20))
def test_every_evaluation_is_on_the_front_or_dominated_or_equalled_by_it(values: list[tuple[int, int, int]]) -> None:
    entries = [evaluation(n, a / 5, cost(float(e), w)) for n, (a, e, w) in enumerate(values)]
    members = front.front(entries, OBJECTIVES)
    of_members = front.losses(members, OBJECTIVES).tolist()
    assert len({tuple(row) for row in of_members}) == len(members)
    assert not any(dominates(member, other) for member in of_members for other in of_members)
    for row in front.losses(entries, OBJECTIVES).tolist():
        assert row in of_members or any(dominates(member, row) for member in of_members)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([(0.9, 1.0, 1)], "p01"),
        ([(0.50, 1.0, 10), (0.95, 2.0, 20), (0.96, 16.0, 160)], "p02"),  # a corner
        ([(0.90, 1.0, 10), (0.95, 8.0, 80), (0.96, 16.0, 160)], "p02"),
        ([(0.5, 1.0, 10), (0.9, 1.0, 10)], "p02"),  # one cost for all: accuracy decides
        ([(0.9, 1.0, 10), (0.9, 2.0, 5)], "p01"),  # as far from the ideal: the first
        ([(0.5, 0.0, 10), (0.9, 1e-3, 11), (0.91, 1.0, 12)], "p02"),  # a cost of 0 has no logarithm
    ],
)
def test_the_knee(values: list[tuple[float, float, int]], expected: str) -> None:
    assert front.knee(points(*values), OBJECTIVES).name == expected


def test_the_knee_of_costs_alone_depends_on_ratios() -> None:
    values = [(0.5, 1.0, 10), (0.8, 2.0, 20), (0.9, 4.0, 40), (0.95, 64.0, 640)]
    scaled = [(a, 1000 * e, 7 * w) for a, e, w in values]
    assert front.knee(points(*values), OBJECTIVES).name == front.knee(points(*scaled), OBJECTIVES).name == "p03"


def test_members_spread_over_the_front_lie_far_apart() -> None:
    """Ten in a row, at equal distances on the scales of the knee but for two close pairs."""
    places = [0.0, 0.02, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.98, 1.0]
    members = points(*((0.5 + 0.4 * place, 100.0**place, 10) for place in places))
    two, three, five = (front.spread(members, ("accuracy", "energy"), count) for count in (2, 3, 5))
    knee = front.knee(members, ("accuracy", "energy")).name
    assert knee in {point.name for point in two}
    assert [point.name for point in three] == ["p01", "p06", "p10"]
    chosen = [places[int(point.name[1:]) - 1] for point in five]
    assert chosen == sorted(chosen)
    assert min(b - a for a, b in itertools.pairwise(chosen)) > 0.19
    assert front.spread(members, ("accuracy", "energy"), 10) == members
    assert front.spread(members[:2], ("accuracy", "energy"), 8) == members[:2]
    assert front.spread((), ("accuracy", "energy"), 8) == ()


def test_who_stays_on_the_front_on_held_out_images() -> None:
    members = points((0.8, 1.0, 10), (0.9, 2.0, 20), (0.95, 3.0, 30), held_out=(0.8, 0.79, 0.85))
    assert front.still_undominated(members, OBJECTIVES) == (True, False, True)
    assert front.still_undominated((), OBJECTIVES) == ()


def test_the_selection_gap_is_what_choosing_on_the_search_images_adds() -> None:
    members = points((0.8, 1.0, 10), (0.9, 2.0, 20), held_out=(0.75, 0.85))
    plain = Baseline(
        name="float",
        cost=cost(),
        search=MeanScore(value=0.95, num_images=10),
        held_out=MeanScore(value=0.93, num_images=10),
    )
    assert front.selection_gap(members, ()) == pytest.approx(0.05)
    assert front.selection_gap(members, (plain,)) == pytest.approx(0.03)
    assert front.selection_gap((), (plain,)) == 0.0

"""What was tried is found again as it would be by looking at all of it at once, in however many parts it came."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.arrays import Int64Array
from explorer.search.axes import WEIGHT_BITS, Axis
from explorer.search.problem import PointCosts
from explorer.search.space import SearchSpace
from explorer.search.tried import Tried

LAYERS = tuple("abc")
SPACE = SearchSpace(
    layers=LAYERS, axes=tuple(Axis(knob=WEIGHT_BITS, of=layer, values=(2, 3, 4, 8)) for layer in LAYERS)
)
COUNT = 90


def price(points: Int64Array) -> PointCosts:
    """Two costs that rise against each other, with many equal ones."""
    costs = np.column_stack((points.sum(1), points[:, 0] - points[:, 1])).astype(np.float64)
    return PointCosts(costs, np.ones(len(points), dtype=np.bool_))


def drawn() -> tuple[list[Int64Array], list[tuple[float, float] | None]]:
    random = np.random.default_rng(0)
    results = [None if random.random() < 0.2 else (round(random.random(), 1), random.random()) for _ in range(COUNT)]
    return list(random.integers(0, 4, (COUNT, len(LAYERS)))), results


def is_beaten(place: int, rows: list[list[float]]) -> bool:
    own = rows[place]
    return any(other != own and all(a <= b for a, b in zip(other, own, strict=True)) for other in rows)


@pytest.mark.parametrize("part", [1, 7, COUNT])
@pytest.mark.parametrize("count", [1, 5, 40, 200])
def test_the_best_are_those_that_none_beats_and_then_the_latest(part: int, count: int) -> None:
    points, results = drawn()
    tried = Tried(SPACE, price)
    for start in range(0, COUNT, part):
        tried.add(points[start : start + part], results[start : start + part])
    scored = [(point, *result) for point, result in zip(points, results, strict=True) if result is not None]
    rows = [[-score, *price(point[None]).values[0].tolist()] for point, score, _ in scored]
    latest_first = sorted(range(len(scored)), key=lambda place: (is_beaten(place, rows), -place))
    expected = [scored[place] for place in sorted(latest_first[:count])]
    found = tried.take_best(count)
    assert tried.num_trials == COUNT
    assert tried.num_scored == len(scored) == sum(result is not None for result in results)
    assert found.points.tolist() == [point.tolist() for point, _, _ in expected]
    assert list(zip(found.scores, found.errors, strict=True)) == [(score, error) for _, score, error in expected]
    assert found.costs.tolist() == price(found.points).values.tolist()


def test_each_point_is_priced_once_and_known_whether_it_was_scored_or_not() -> None:
    priced = []

    def note(points: Int64Array) -> PointCosts:
        priced.append(len(points))
        return price(points)

    points, results = drawn()
    tried = Tried(SPACE, note)
    for start in range(0, COUNT, 9):
        tried.add(points[start : start + 9], results[start : start + 9])
        tried.take_best(20)
    assert sum(priced) == tried.num_scored < COUNT
    assert all(point in tried for point in points)
    known = {tuple(point) for point in points}
    missing = [point for point in np.ndindex(4, 4, 4) if point not in known]
    assert missing
    assert not any(np.array(point) in tried for point in missing)

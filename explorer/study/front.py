"""The Pareto front of a set of evaluations, and the points on it that people ask for by name."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from explorer.objectives import costs_named, objectives_named
from explorer.pareto import undominated
from explorer.study.record import FLOAT, Baseline, Evaluation, FrontPoint


def losses(evaluations: Sequence[Evaluation], objectives: Sequence[str]) -> NDArray[np.float64]:
    """Return evaluations x objectives, every column to be minimised."""
    of = objectives_named(objectives)
    rows = [
        [objective.loss(item.cost, item.score.value if item.score else 0.0) for objective in of] for item in evaluations
    ]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(objectives))


def front(evaluations: Sequence[Evaluation], objectives: Sequence[str]) -> tuple[Evaluation, ...]:
    """Return the feasible, undominated evaluations, one for each set of values, in ascending order of cost.

    Of two that cost the same by the first of the objectives, the one that costs less by the next comes first.
    """
    scored = [item for item in evaluations if item.feasible and item.score is not None]
    if not scored:
        return ()
    values = losses(scored, objectives)
    found = [scored[index] for index in np.flatnonzero(undominated(values, of_equal="first"))]
    costs = costs_named(objectives)
    return tuple(sorted(found, key=lambda item: [cost.value(item.cost, 0.0) for cost in costs]))


def knee(points: Sequence[FrontPoint], objectives: Sequence[str]) -> FrontPoint:
    """Return the point nearest to the ideal one, every objective scaled to 0..1 and costs on logarithmic scales.

    Costs span decades, so that on linear scales the most expensive point alone would set the distances. All
    costs together weigh as much as the score, since they rise and fall together.
    """
    places = _places(points, objectives)
    return points[int(np.square(places).sum(axis=1).argmin())]


def spread(points: Sequence[FrontPoint], objectives: Sequence[str], count: int) -> tuple[FrontPoint, ...]:
    """Return so many members of the front that lie far from each other, in its order; all where there are no more.

    The first chosen is the knee, each next one is the farthest from all before, on the scales of the knee.
    """
    if count >= len(points):
        return tuple(points)
    places = _places(points, objectives)
    chosen = [int(np.square(places).sum(axis=1).argmin())]
    nearest = np.full(len(points), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, np.square(places - places[chosen[-1]]).sum(axis=1))
        chosen.append(int(nearest.argmax()))
    return tuple(points[index] for index in sorted(chosen))


def _places(points: Sequence[FrontPoint], objectives: Sequence[str]) -> NDArray[np.float64]:
    """Return points x objectives, from 0 for the best of each to 1; all costs together have the weight of the score."""
    values = losses([point.evaluation for point in points], objectives)
    is_cost = np.array([objective.is_cost for objective in objectives_named(objectives)])
    values[:, is_cost] = np.log(np.maximum(values[:, is_cost], 1e-12))
    span = values.max(axis=0) - values.min(axis=0)
    places: NDArray[np.float64] = (values - values.min(axis=0)) / np.where(span > 0, span, 1.0)
    places[:, is_cost] /= math.sqrt(max(1, int(is_cost.sum())))
    return places


def still_undominated(points: Sequence[FrontPoint], objectives: Sequence[str]) -> tuple[bool, ...]:
    """Return which points no other one of the front dominates once the held-out accuracies are put in.

    One that was scored on no such images stays, and dominates none.
    """
    values = losses([point.evaluation for point in points], objectives)
    for column, objective in enumerate(objectives_named(objectives)):
        if not objective.is_cost:
            values[:, column] = [-point.held_out.value if point.held_out.num_images else math.nan for point in points]
    return tuple(bool(entry) for entry in undominated(values, of_equal="all"))


def selection_gap(points: Sequence[FrontPoint], baselines: Sequence[Baseline]) -> float:
    """Return how much better the front does on the images that chose it than on held-out ones, mean over its points.

    In shares of the images. What the float network differs by between the two sets is taken off, since it was not
    chosen on either. 0 for an empty front.
    """
    gaps = [
        point.evaluation.score.value - point.held_out.value for point in points if point.evaluation.score is not None
    ]
    plain = next((entry.search.value - entry.held_out.value for entry in baselines if entry.name == FLOAT), 0.0)
    return sum(gaps) / len(gaps) - plain if gaps else 0.0

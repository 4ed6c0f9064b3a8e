"""Accuracy against one cost: which points are drawn where, as plain values."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from explorer.objectives import OBJECTIVES, Objective, score_named
from explorer.pareto import undominated
from explorer.report.front.views import CloudView, FrontView, PointView
from explorer.study.record import Cost, Split

LOG_RATIO = 4.0
"""A cost axis is logarithmic when its largest value exceeds its smallest by more than this factor."""


class PlotPoint(NamedTuple):
    """Where a member of the front or a baseline lies; `y` and `standard_error` are shares in [0, 1]."""

    point: PointView
    x: float
    y: float
    standard_error: float


class CloudPoint(NamedTuple):
    """Where another evaluation lies; `y` is None when it was never scored."""

    evaluation: CloudView
    x: float
    y: float | None


class PairView(NamedTuple):
    """Accuracy on the images of one split against one cost.

    `best` are the members that no other member beats in both this cost and search accuracy, in ascending order
    of the cost; `others` are on the front for another objective's sake; `tuned` is what fine-tuning made of members, at
    the cost that they have then. `levels` are the baselines without this
    cost: only their accuracy is known. `unscored` evaluations were over budget before accuracy was measured.
    Evaluations have no held-out accuracy, so `feasible` and `over_budget` are empty for that split. `y_range`
    covers front and baselines with their errors; `below_range` counts the evaluations beneath it.
    """

    axis: Objective
    score: Objective
    split: Split
    logarithmic: bool
    best: tuple[PlotPoint, ...]
    others: tuple[PlotPoint, ...]
    tuned: tuple[PlotPoint, ...]
    baselines: tuple[PlotPoint, ...]
    levels: tuple[PointView, ...]
    feasible: tuple[CloudPoint, ...]
    over_budget: tuple[CloudPoint, ...]
    unscored: tuple[CloudPoint, ...]
    budget: float | None
    y_range: tuple[float, float]
    below_range: int


def build_pair_view(view: FrontView, objective: str, split: Split) -> PairView:
    """Return accuracy on `split` ("search" or "held_out") against the cost of an objective such as "energy".

    Points without that cost are left out, apart from baselines, which become `levels`.
    """
    axis = OBJECTIVES[objective]
    members = _placed(view.front, axis, split)
    baselines = _placed(view.baselines, axis, split)
    tuned_points = tuple(point.tuned for point in view.front if point.tuned is not None)
    tuned = _placed(tuned_points, axis, split)
    best = _best(members)
    cloud = [
        CloudPoint(item, x, None if item.score is None else item.score.value)
        for item in view.cloud
        if (x := _value(item.cost, axis)) is not None
    ]
    scored = [entry for entry in cloud if entry.y is not None] if split == "search" else []
    levels = tuple(point for point in view.baselines if _value(point.cost, axis) is None)
    values = [entry.x for entry in (*members, *baselines, *tuned)] + [entry.x for entry in cloud]
    y_range = _y_range([*view.front, *view.baselines, *tuned_points], split)
    return PairView(
        axis=axis,
        score=score_named(view.objectives),
        split=split,
        logarithmic=_spans_widely(values),
        best=best,
        others=tuple(member for member in members if member not in best),
        tuned=tuned,
        baselines=baselines,
        levels=levels,
        feasible=tuple(entry for entry in scored if not entry.evaluation.violations),
        over_budget=tuple(entry for entry in scored if entry.evaluation.violations),
        unscored=tuple(entry for entry in cloud if entry.y is None) if split == "search" else (),
        budget=view.budgets.get(axis.key),
        y_range=y_range,
        below_range=sum(1 for entry in scored if entry.y is not None and entry.y < y_range[0]),
    )


def _value(cost: Cost, axis: Objective) -> float | None:
    value = getattr(cost, axis.key)
    return None if value is None else float(value)


def _placed(points: tuple[PointView, ...], axis: Objective, split: Split) -> tuple[PlotPoint, ...]:
    """Place the points that have this cost, in ascending order of it."""
    placed = [
        PlotPoint(point, x, point.score(split).value, point.score(split).standard_error)
        for point in points
        if (x := _value(point.cost, axis)) is not None
    ]
    return tuple(sorted(placed, key=lambda entry: (entry.x, entry.point.name)))


def _best(members: tuple[PlotPoint, ...]) -> tuple[PlotPoint, ...]:
    """Keep the members that no other one beats in cost and search accuracy; equals keep each other.

    Always judged on search accuracy: judging on held-out images would select on them.
    """
    losses = np.array([(member.x, -member.point.search.value) for member in members]).reshape(-1, 2)
    return tuple(itertools.compress(members, undominated(losses, of_equal="all")))


def _spans_widely(values: list[float]) -> bool:
    """Return True when all values are positive and the largest is more than LOG_RATIO times the smallest."""
    return bool(values) and min(values) > 0.0 and max(values) > LOG_RATIO * min(values)


def _y_range(points: list[PointView], split: Split) -> tuple[float, float]:
    """Return least and largest accuracy with a standard error, and 8 % of room at both ends; (0, 1) without points."""
    if not points:
        return (0.0, 1.0)
    scores = [point.score(split) for point in points]
    lowest = min(score.value - score.standard_error for score in scores)
    highest = max(score.value + score.standard_error for score in scores)
    room = 0.08 * max(highest - lowest, 0.01)
    return (lowest - room, highest + room)

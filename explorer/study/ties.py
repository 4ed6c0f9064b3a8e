"""Which members of a front cost more than another without being shown to be better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from explorer.arrays import Float64Array
from explorer.evaluate.paired import probability_of_no_less
from explorer.objectives import costs_named
from explorer.study.record import FrontPoint

LEVEL = 0.05
"""A difference that chance alone makes more often than this, to either side, is none."""


def find_ties(
    points: Sequence[FrontPoint], objectives: Sequence[str], scores: Mapping[str, Float64Array]
) -> dict[str, str]:
    """Return for each point that is a tie the name of one that costs no more, by any objective.

    `scores` are those of each point, by its name, on the held-out images (N). A point is a tie where an exact paired
    test at 95 % does not find it better than the best of those that cost no more and are no ties themselves: what it
    costs more then buys nothing that can be shown.
    """
    costs = {
        point.name: [cost.value(point.evaluation.cost, 0.0) for cost in costs_named(objectives)] for point in points
    }
    found: dict[str, str] = {}
    kept: list[str] = []
    for name in sorted(costs, key=lambda name: (costs[name], -scores[name].mean())):
        cheaper = [other for other in kept if np.all(np.array(costs[other]) <= costs[name])]
        best = max(cheaper, key=lambda other: float(scores[other].mean()), default=None)
        if best is None or probability_of_no_less(scores[best] - scores[name]) < LEVEL / 2:
            kept.append(name)
        else:
            found[name] = best
    return found

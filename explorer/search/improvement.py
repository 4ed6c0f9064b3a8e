"""The hypervolume that points would add to a front, expected over draws of their scores."""

from __future__ import annotations

import numpy as np

from explorer.arrays import Float64Array, Int64Array
from explorer.pareto import undominated

CORNERS = 512
"""Places in the space of costs where the best score within these is asked for; their mean is the volume (assumed)."""
AT_ONCE = 16
"""Points whose gains are measured together."""


class Attained:
    """The best score within each of many combinations of costs, in each of several draws.

    The volume that a front dominates is the mean, over all combinations of costs up to the reference, of its best
    score within these costs; so much as a point raises that mean is what it adds. That holds for any number of costs.

    Attributes:
        best: draws x corners.
    """

    def __init__(self, corners: Float64Array, least: float, draws: int) -> None:
        """Start with an empty front: `corners` (C x costs), `least` the score below which nothing counts."""
        self.corners = corners
        self.best = np.full((draws, len(corners)), least)

    def copy(self) -> Attained:
        """Return one that changes apart from this one."""
        other = Attained(self.corners, 0.0, len(self.best))
        other.best[:] = self.best
        return other

    def add(self, costs: Float64Array, scores: Float64Array) -> None:
        """Put points (N x costs) on the front, of scores draws x N."""
        for cost, score in zip(costs, scores.T, strict=True):
            within = (cost <= self.corners).all(1)
            self.best[:, within] = np.maximum(self.best[:, within], score[:, None])

    def measure_gains(self, costs: Float64Array, scores: Float64Array) -> Float64Array:
        """Return what each of the points alone would add, the mean over draws."""
        within = np.ones((len(costs), len(self.corners)), dtype=np.bool_)
        for cost, corner in zip(costs.T, self.corners.T, strict=True):
            within &= cost[:, None] <= corner
        counted, raised = within.astype(np.float64), np.empty(within.shape)
        total = np.zeros(len(costs))
        for best, score in zip(self.best, scores, strict=True):
            np.maximum(np.subtract(score[:, None], best, out=raised), 0.0, out=raised)
            total += np.einsum("pc,pc->p", raised, counted)
        return total / (len(self.best) * len(self.corners))

    def find_best(self, costs: Float64Array, scores: Float64Array, bounds: Float64Array) -> tuple[int, float]:
        """Return the place of the point that adds most, and how much; each adds at most its bound.

        What a point adds only falls as others come to the front, so that what it once added is such a bound: points are
        looked at from the largest bound on, until no other can add more than the best so far.
        """
        order = np.argsort(-bounds, kind="stable")
        best, found = -1.0, int(order[0])
        for start in range(0, len(order), AT_ONCE):
            part = order[start : start + AT_ONCE]
            if bounds[part[0]] <= best:
                break
            gains = self.measure_gains(costs[part], scores[:, part])
            if gains.max() > best:
                best, found = float(gains.max()), int(part[gains.argmax()])
        return found, best


def spread_corners(low: Float64Array, high: Float64Array, count: int = CORNERS) -> Float64Array:
    """Return points spread evenly between two corners: the additive sequence of Roberts (2018), count x costs."""
    root = 2.0
    for _ in range(50):  # the positive root of x^(d + 1) = x + 1
        root = (1.0 + root) ** (1.0 / (len(low) + 1))
    steps = root ** -np.arange(1.0, len(low) + 1)
    places: Float64Array = (0.5 + np.arange(1, count + 1)[:, None] * steps) % 1.0
    return low + (high - low) * places


def sort_undominated_first(scores: Float64Array, costs: Float64Array) -> tuple[Int64Array, int]:
    """Return the places of points, those first that no other is better than, and how many these are."""
    on_front = undominated(np.column_stack((-scores, costs)), of_equal="all")
    return np.argsort(~on_front, kind="stable"), int(np.count_nonzero(on_front))

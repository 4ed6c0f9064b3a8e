"""What a search has tried: each point is encoded, priced and compared once, when its result becomes known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from explorer.arrays import Float64Array, Int64Array
from explorer.pareto import undominated
from explorer.search.problem import PricePoints
from explorer.search.space import SearchSpace


class Scored(NamedTuple):
    """Points (N x axes) with scores, standard errors and costs (N x costs)."""

    points: Int64Array
    scores: Float64Array
    errors: Float64Array
    costs: Float64Array


class Tried:
    """Points in the order of their trials; to add some takes time for these and the front, not for all before.

    Attributes:
        num_trials: How many were added, scored or not.
    """

    def __init__(self, space: SearchSpace, price_points: PricePoints) -> None:
        self._price_points = price_points
        self._narrow = np.min_scalar_type(max(len(axis.values) for axis in space.axes))
        self._keys: set[bytes] = set()
        self._rows: list[np.ndarray] = []
        """Points that were scored, in as few bytes as they take."""
        self._values: list[tuple[float, float]] = []
        self._costs: list[Float64Array] = []
        self._front = np.empty(0, dtype=np.int64)
        """Places of those that no other is better than, ascending."""
        self._losses: tuple[Float64Array, ...] = ()
        """What these are compared by, once there are any."""
        self.num_trials = 0

    def __contains__(self, point: Int64Array) -> bool:
        return point.astype(self._narrow).tobytes() in self._keys

    @property
    def num_scored(self) -> int:
        """How many of them have a score."""
        return len(self._rows)

    def add(self, points: Sequence[Int64Array], results: Sequence[tuple[float, float] | None]) -> None:
        """Add points (of axes indices each) with their scores and standard errors, None where they have none."""
        self.num_trials += len(points)
        rows = [point.astype(self._narrow) for point in points]
        self._keys.update(row.tobytes() for row in rows)
        scored = [(row, result) for row, result in zip(rows, results, strict=True) if result is not None]
        if not scored:
            return
        new = np.arange(len(self._rows), len(self._rows) + len(scored))
        self._rows += [row for row, _ in scored]
        self._values += [result for _, result in scored]
        costs = self._price_points(np.array(self._rows[new[0] :], dtype=np.int64)).values
        self._costs += list(costs)
        losses = np.column_stack(([-score for _, (score, _) in scored], costs))
        joined = np.concatenate((*self._losses, losses))
        kept = undominated(joined, of_equal="all")
        self._front, self._losses = np.concatenate((self._front, new))[kept], (joined[kept],)

    def take_best(self, count: int) -> Scored:
        """Return at most so many in their order: those that no other is better than first, then the latest."""
        best = self._front[-count:]
        first = max(0, self.num_scored - count - len(self._front))
        others = np.setdiff1d(np.arange(first, self.num_scored), self._front)
        return self._take(np.sort(np.concatenate((best, others[max(0, len(others) + len(best) - count) :]))))

    def _take(self, places: Int64Array) -> Scored:
        chosen = places.tolist()
        values = np.array([self._values[place] for place in chosen]).reshape(-1, 2)
        points = np.array([self._rows[place] for place in chosen], dtype=np.int64)
        return Scored(points, values[:, 0], values[:, 1], np.array([self._costs[place] for place in chosen]))

"""What points of a study's space cost, by its objectives and budgets, however many blocks they remove."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from explorer.arrays import Int64Array
from explorer.compress.candidate import Candidate
from explorer.evaluate.array_pricing import ArrayPricing, WeightBits
from explorer.objectives import costs_named, every_cost
from explorer.search.axes import REMOVED_BLOCKS
from explorer.search.problem import PointCosts
from explorer.search.space import SearchSpace
from explorer.study.prepare import PreparedStudy

PRICED = 4096
"""Candidates that are priced at once, so that memory does not grow with how many there are (assumed)."""


class PointPricing:
    """Prices many points at once for a sampler, each network without blocks by an `ArrayPricing` of its own.

    Attributes:
        entropy: Bits a weight at its entropy, for a device that reads weights coded so; else None.
        coded: Bits a weight in a coded file, where the study names its bytes; else None.
    """

    def __init__(
        self, prepared: PreparedStudy, space: SearchSpace, entropy: WeightBits | None, coded: WeightBits | None
    ) -> None:
        self._prepared, self._space, self._entropy, self._coded = prepared, space, entropy, coded
        names = prepared.study.objectives.names
        self._costs = [cost.key for cost in costs_named(names)]
        limits = [(cost.key, prepared.study.budgets.limit(cost)) for cost in every_cost()]
        self._limits = [(key, limit) for key, limit in limits if limit is not None]
        self._depth = next((place for place, axis in enumerate(space.axes) if axis.knob is REMOVED_BLOCKS), None)
        self._found: dict[int, ArrayPricing] = {}

    def price(self, points: Int64Array) -> PointCosts:
        """Return the costs of points (N x axes of indices) by the objectives, and whether they keep the budgets."""
        values, fits = np.empty((len(points), len(self._costs))), np.ones(len(points), dtype=np.bool_)
        removed = np.zeros(len(points), dtype=np.int64)
        if self._depth is not None:
            removed = np.array(self._space.axes[self._depth].values)[points[:, self._depth]]
        for count in np.unique(removed).tolist():
            own = removed == count
            prices = self._without(count).price(points[own])
            values[own] = np.column_stack([getattr(prices, key) for key in self._costs])
            fits[own] = np.all([getattr(prices, key) <= limit for key, limit in self._limits], axis=0)
        return PointCosts(values, fits)

    def price_candidates(self, candidates: Sequence[Candidate]) -> PointCosts:
        """Return the costs of candidates of the space, as `price` does."""
        found = []
        for start in range(0, max(1, len(candidates)), PRICED):
            points = [list(self._space.point(each).values()) for each in candidates[start : start + PRICED]]
            found.append(self.price(np.array(points, dtype=np.int64).reshape(len(points), len(self._space.axes))))
        values, fits = zip(*found, strict=True)
        return PointCosts(np.concatenate(values), np.concatenate(fits))

    def _without(self, count: int) -> ArrayPricing:
        """Return the prices of points without so many blocks."""
        if count not in self._found:
            gone = next((each.removed_blocks for each in self._space.depths if len(each.removed_blocks) == count), ())
            graph = self._prepared.context.graph_without(gone)
            self._found[count] = ArrayPricing(
                graph, self._space, self._prepared.accelerator, self._entropy, self._coded
            )
        return self._found[count]

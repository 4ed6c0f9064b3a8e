"""Costs of points by the objectives and budgets of a study: those of its candidates, with and without blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import explorer
from explorer.arrays import Int64Array
from explorer.search.problem import PointCosts
from explorer.search.space import SearchSpace
from explorer.study.point_costs import PointPricing

SPACE = explorer.Space(
    weight_bits=(2, 4, 8), activation_bits=(4, 8), filter_keep_ratio=(0.5, 1.0), removed_blocks=(0, 1)
)
MOST_BYTES = 1100


class Chain(nn.Module):
    """A block between equal shapes, and what is before and behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.block, self.last = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8 * 36, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        x = x + torch.relu(self.block(x))
        return self.last(x.flatten(1))  # type: ignore[no-any-return]


def test_a_search_proposes_by_the_very_costs_of_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[SearchSpace, Int64Array, PointCosts]] = []
    price = PointPricing.price

    def recorded(self: PointPricing, points: Int64Array) -> PointCosts:
        costs = price(self, points)
        asked.append((self._space, points[:4], PointCosts(costs.values[:4], costs.fits[:4])))
        return costs

    monkeypatch.setattr(PointPricing, "price", recorded)
    torch.manual_seed(0)
    net = explorer.open(Chain().eval(), torch.rand(60, 1, 8, 8), torch.arange(60) % 3)
    found = explorer.search(
        net,
        SPACE,
        objectives=("accuracy", "energy", "latency"),
        budgets={"weight_bytes": MOST_BYTES},
        scores="l2",
        trials=32,
        seeds=8,
        sampler="bayes",
    )
    assert {item.origin for item in found.outcome.evaluations[20:]} == {"bayes"}
    seen = set()
    for space, points, costs in asked:
        for point, values, fits in zip(points.tolist(), costs.values.tolist(), costs.fits.tolist(), strict=True):
            candidate = space.candidate({axis.name: index for axis, index in zip(space.axes, point, strict=True)})
            cost = explorer.price(net, candidate, "bitfusion")
            assert values == [cost.energy_uj, cost.latency_ms]
            assert fits == (cost.weight_bytes <= MOST_BYTES)
            seen.add((len(candidate.removed_blocks), fits))
    assert {removed for removed, _ in seen} == {0, 1}
    assert {fits for _, fits in seen} == {True, False}
    assert np.mean([not item.violations for item in found.outcome.evaluations[20:]]) == 1.0

"""Draws of the control: fixed by the seed and the layer, even, and of nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import nn

from explorer.relevance.random_scores import random_scores
from explorer.relevance.sample import make_sample
from tests.support.attribution import canonical, functional


def test_draws_follow_seed_and_layer_alone() -> None:
    model, graph, images, labels = canonical(functional)
    sample = make_sample(model, graph, images, labels)
    found, other = random_scores(sample), random_scores(replace(sample, seed=1))
    for one, another in zip(found.layers, other.layers, strict=True):
        assert not np.isclose(one.filter_scores, another.filter_scores).any()
    assert not np.isclose(found.layer("conv1").filter_scores, found.layer("conv2").filter_scores).any()
    model.get_submodule("conv1").get_parameter("weight").data.mul_(3.0)
    again = random_scores(make_sample(model, graph, 2 * images[:3], labels[:3]))
    assert all(
        np.array_equal(one.filter_scores, another.filter_scores)
        and np.array_equal(one.weight_multipliers, another.weight_multipliers)
        for one, another in zip(found.layers, again.layers, strict=True)
    )


def test_draws_are_even_over_zero_to_one() -> None:
    own = nn.Conv2d(2, 200, 5, padding=2)
    model, graph, images, labels = canonical(
        lambda m, x: m.head(m.own(x).mean((2, 3))), own=own, head=nn.Linear(200, 3)
    )
    weights = random_scores(make_sample(model, graph, images, labels)).layer("own").weight_multipliers
    assert weights.min() >= 0.0
    assert weights.max() < 1.0
    shares = np.histogram(weights, bins=4, range=(0, 1))[0] / weights.size
    assert np.abs(shares - 0.25).max() < 0.02  # 10,000 draws: the standard error is 0.0043

"""Distances between filters, one by one."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from explorer.relevance.sample import make_sample
from explorer.relevance.similarity import similarity
from tests.support.attribution import canonical, functional


def test_sums_of_distances_one_by_one() -> None:
    model, graph, images, labels = canonical(functional)
    found = similarity(make_sample(model, graph, images, labels))
    for layer in found.layers:
        filters = model.get_submodule(layer.layer).get_parameter("weight").detach().numpy()
        flat = filters.reshape(len(filters), -1)
        expected = [sum(float(np.sqrt(((a - b) ** 2).sum())) for b in flat) for a in flat]
        assert np.allclose(layer.filter_scores, expected, rtol=1e-6)


def test_copies_go_before_the_filter_that_stands_alone() -> None:
    model, graph, images, labels = canonical(functional)
    weight = model.get_submodule("conv1").get_parameter("weight").data
    weight[:3] = weight[0].clone()
    weight[3] = -weight[0]
    scores = similarity(make_sample(model, graph, images, labels)).layer("conv1").filter_scores
    apart = 2 * float(weight[0].square().sum().sqrt())
    assert np.allclose(scores, [apart, apart, apart, 3 * apart], rtol=1e-6)


def test_the_only_filter_of_a_layer() -> None:
    model, graph, images, labels = canonical(lambda m, x: m.fc(m.own(x).flatten(1)), own=nn.Conv2d(2, 1, 1))
    found = similarity(make_sample(model, graph, images, labels)).layer("own")
    assert found.filter_scores.tolist() == [0.0]
    assert torch.equal(torch.from_numpy(found.weight_multipliers), torch.ones(1, 2, 1, 1))

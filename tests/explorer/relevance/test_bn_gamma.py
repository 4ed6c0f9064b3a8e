"""Gains of batch norms as scores, and what layers without one get."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.errors import RelevanceError
from explorer.relevance.bn_gamma import bn_gamma
from explorer.relevance.sample import make_sample
from tests.support.attribution import canonical, functional


def normed(m: Any, x: Tensor) -> Any:
    """conv1 has a batch norm with gains, conv2 one without, fc none."""
    x = F.relu(m.norm(m.conv1(x)))
    return m.fc(F.avg_pool2d(F.relu(m.plain(m.conv2(x))), 2).flatten(1))


def norm_of(gains: list[float]) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(len(gains))
    norm.weight.data = torch.tensor(gains)
    return norm


def test_gains_are_the_scores_and_magnitude_stands_in() -> None:
    plain = nn.BatchNorm2d(4, affine=False)
    model, graph, images, labels = canonical(normed, norm=norm_of([0.5, -2.0, 0.0, 1.5]), plain=plain)
    found = bn_gamma(make_sample(model, graph, images, labels))
    assert found.layer("conv1").filter_scores.tolist() == [0.5, 2.0, 0.0, 1.5]
    for name in ("conv2", "fc"):
        weight = model.get_submodule(name).get_parameter("weight").detach().flatten(1)
        norms = weight.square().sum(1).sqrt().numpy()
        median = 0.5  # the lower of the two in the middle of 0, 0.5, 1.5, 2
        assert np.allclose(found.layer(name).filter_scores, median * norms / norms.mean(), rtol=1e-6)


def test_a_layer_of_zeros_without_a_norm_gets_the_median() -> None:
    plain = nn.BatchNorm2d(4, affine=False)
    model, graph, images, labels = canonical(normed, norm=norm_of([3.0, 1.0, 1.0, 1.0]), plain=plain)
    model.get_submodule("fc").get_parameter("weight").data.zero_()
    found = bn_gamma(make_sample(model, graph, images, labels))
    assert found.layer("fc").filter_scores.tolist() == [1.0, 1.0, 1.0]


def test_the_norm_of_a_sum_is_not_that_of_a_layer() -> None:
    """What is behind an addition says nothing of either operand."""

    def body(m: Any, x: Tensor) -> Any:
        x = m.norm(m.conv1(x))
        return m.fc(F.avg_pool2d(m.behind(x + m.conv2(x)), 2).flatten(1))

    model, graph, images, labels = canonical(body, norm=norm_of([1.0] * 4), behind=norm_of([9.0] * 4))
    found = bn_gamma(make_sample(model, graph, images, labels))
    assert found.layer("conv1").filter_scores.tolist() == [1.0] * 4
    assert found.layer("conv2").filter_scores.max() < 9.0


def test_a_network_without_batch_norms_is_refused() -> None:
    model, graph, images, labels = canonical(functional)
    with pytest.raises(RelevanceError, match=r"bn_gamma reads the gains of batch norms, and no layer.*such as l2"):
        bn_gamma(make_sample(model, graph, images, labels))

"""Magnitude: norms of filters by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from explorer.relevance.criteria import CRITERIA
from explorer.relevance.magnitude import compute_filter_norms
from explorer.relevance.sample import make_sample
from tests.support.attribution import canonical, functional


@pytest.mark.parametrize(("method", "expected"), [("l1", [7.0, 0.0, 2.0]), ("l2", [5.0, 0.0, 2.0])])
def test_norms_by_hand(method: str, expected: list[float]) -> None:
    model, graph, images, labels = canonical(functional)
    weight = model.get_submodule("fc").get_parameter("weight")
    with torch.no_grad():
        weight.zero_()
        weight[0, 3], weight[0, 20], weight[2, 0] = 3.0, -4.0, -2.0
    found = CRITERIA[method].compute(make_sample(model, graph, images, labels), None)
    assert found.layer("fc").filter_scores.tolist() == expected
    assert found.method == method
    conv = model.get_submodule("conv1").get_parameter("weight").detach().numpy()
    order = {"l1": 1, "l2": 2}[method]
    by_numpy = [np.linalg.norm(conv[i].ravel(), order) for i in range(4)]
    assert np.allclose(found.layer("conv1").filter_scores, by_numpy, rtol=1e-6)
    assert found.layer("conv1").contributions.shape == (0, 4)


def test_many_small_weights_are_summed_in_double_precision() -> None:
    weight = nn.Parameter(torch.full((1, 2**14), 0.1))
    assert float(compute_filter_norms(weight, 1)[0]) == pytest.approx(2**14 * float(torch.tensor(0.1)), rel=1e-12)

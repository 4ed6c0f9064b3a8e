"""Mean activations by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.relevance.activation_mean import activation_mean
from explorer.relevance.sample import make_sample
from tests.support.attribution import canonical, functional


def test_means_after_the_activation_by_hand() -> None:
    model, graph, images, labels = canonical(functional)
    found = activation_mean(make_sample(model, graph, images, labels))
    conv1, conv2 = (model.get_submodule(name) for name in ("conv1", "conv2"))
    with torch.no_grad():
        first = conv1(images).relu()
        second = conv2(first).relu()
        logits = model(images)
    expected = {"conv1": first.mean((2, 3)), "conv2": second.mean((2, 3)), "fc": logits.abs()}
    for name, table in expected.items():
        layer = found.layer(name)
        assert np.allclose(layer.contributions, table.numpy(), rtol=1e-6)
        assert np.array_equal(layer.contributions, layer.magnitudes)
        assert np.allclose(layer.filter_scores, table.mean(0).numpy(), rtol=1e-6)
    largest = found.aggregated("max_abs").layer("conv2").filter_scores
    assert np.allclose(largest, expected["conv2"].amax(0).numpy(), rtol=1e-6)


def test_opposite_positions_do_not_cancel() -> None:
    """Nothing but a batch norm follows conv2: its activations have signs."""

    def body(m: Any, x: Tensor) -> Any:
        x = F.relu(m.conv1(x))
        return m.fc(F.avg_pool2d(x + m.norm(m.conv2(x)), 2).flatten(1))

    model, graph, images, labels = canonical(body, norm=nn.BatchNorm2d(4))
    found = activation_mean(make_sample(model, graph, images, labels)).layer("conv2")
    with torch.no_grad():
        given = model.get_submodule("norm")(model.get_submodule("conv2")(model.get_submodule("conv1")(images).relu()))
    assert bool((given < 0).any())
    assert np.allclose(found.filter_scores, given.abs().mean((0, 2, 3)).numpy(), rtol=1e-6)

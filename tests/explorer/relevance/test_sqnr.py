"""Signal to noise: multipliers under which an error counts its share of the signal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.relevance.sample import make_sample
from explorer.relevance.sqnr import sqnr
from tests.support.attribution import canonical, functional


def test_the_noise_of_weights_over_their_signal() -> None:
    model, graph, images, labels = canonical(functional)
    found = sqnr(make_sample(model, graph, images, labels))
    draw = np.random.default_rng(0)
    for layer in found.layers:
        weight = model.get_submodule(layer.layer).get_parameter("weight").detach().numpy()
        noise = draw.normal(scale=0.01, size=weight.shape)
        ratio = float(np.square(weight).sum() / np.square(noise).sum())
        assert float(np.square(layer.weight_multipliers * noise).sum()) == pytest.approx(1 / ratio, rel=1e-5)


def test_the_noise_of_inputs_over_their_signal() -> None:
    """An error of size e at every element: the squares over elements are those over channels over positions."""
    model, graph, images, labels = canonical(functional)
    found = sqnr(make_sample(model, graph, images, labels))
    with torch.no_grad():
        first = model.get_submodule("conv1")(images).relu()
        last = F.avg_pool2d(model.get_submodule("conv2")(first).relu(), 2).flatten(1)
    for name, read, positions in (("conv1", images, 36), ("conv2", first, 36), ("fc", last, 1)):
        signal, e = float(read.square().mean()), 0.01
        loss = float(np.square(found.layer(name).input_multipliers).sum()) / positions * e**2
        assert loss == pytest.approx(e**2 / signal, rel=1e-5)


def test_where_there_is_no_signal_there_is_no_noise() -> None:
    def body(m: Any, x: Tensor) -> Any:
        return m.fc(F.avg_pool2d(m.own(0.0 * m.conv1(x)), 2).flatten(1))

    model, graph, images, labels = canonical(body, own=nn.Conv2d(4, 4, 1))
    model.get_submodule("own").get_parameter("weight").data.zero_()
    found = sqnr(make_sample(model, graph, images, labels)).layer("own")
    assert not found.weight_multipliers.any()
    assert not found.input_multipliers.any()

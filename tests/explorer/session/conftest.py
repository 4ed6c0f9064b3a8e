"""A small network, its images, and a search of it from Python."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import explorer


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """Two convolutions and a linear layer for 1 x 8 x 8 images of 4 classes, untrained."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(128, 4),
        )


@pytest.fixture(scope="module")
def samples(model: nn.Module) -> tuple[Tensor, Tensor]:
    """100 images with the classes that the network itself says they are of."""
    images = torch.rand(100, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return images, model.eval()(images).argmax(1)


@pytest.fixture(scope="module")
def net(model: nn.Module, samples: tuple[Tensor, Tensor]) -> explorer.Net:
    """The network, opened."""
    return explorer.open(model, *samples)


@pytest.fixture(scope="module")
def result(net: explorer.Net) -> explorer.Result:
    """A short search of it."""
    space = explorer.Space(weight_bits=(2, 4, 8), filter_keep_ratio=(0.5, 1.0))
    return explorer.search(net, space, "bitfusion", ("accuracy", "energy", "latency"), "l2", trials=12, seeds=4)

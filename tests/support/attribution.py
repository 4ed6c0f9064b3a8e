"""Small networks on which attributions are tested."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from explorer.graph.canonical import canonicalise
from explorer.graph.layers import ModelGraph
from explorer.graph.trace import trace

Body = Callable[[Any, Tensor], Any]


class Net(nn.Module):
    """Two convolutions and a linear layer; the case says what lies between."""

    def __init__(self, body: Body, **layers: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4 * 9, 3)
        self.relu = nn.ReLU()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.body = body

    def forward(self, x: Tensor) -> Any:
        return self.body(self, x)


Case = tuple[fx.GraphModule, ModelGraph, Tensor, Tensor]


def canonical(body: Body, **layers: nn.Module) -> Case:
    """The canonical network in float64, its graph, six images and labels."""
    torch.manual_seed(2)
    model = Net(body, **layers)
    images = torch.randn(6, 2, 6, 6)
    found = canonicalise(model, images)
    return found.double(), trace(found, images.double()), images.double(), torch.tensor([0, 1, 2, 0, 1, 2])


def functional(m: Any, x: Tensor) -> Any:
    x = F.relu(m.conv2(F.relu(m.conv1(x))))
    return m.fc(F.avg_pool2d(x, 2).flatten(1))


def reused(m: Any, x: Tensor) -> Any:
    x = m.relu(m.conv2(m.relu(m.conv1(x))))
    return m.fc(F.avg_pool2d(m.relu(x - 0.1), 2).flatten(1))


def pooled(m: Any, x: Tensor) -> Any:
    x = F.relu(m.conv2(F.relu(m.conv1(x))))
    return m.fc(F.max_pool2d(x, 2).flatten(1))


def residual(m: Any, x: Tensor) -> Any:
    x = F.relu(m.conv1(x))
    y = m.conv2(x)
    y += x
    return m.fc(F.avg_pool2d(F.relu(y), 2).flatten(1))


def residual_into_input(m: Any, x: Tensor) -> Any:
    """What conv2 read is overwritten afterwards."""
    x = F.relu(m.conv1(x))
    x += m.conv2(x)
    return m.fc(F.avg_pool2d(F.relu(x), 2).flatten(1))


def smooth(m: Any, x: Tensor) -> Any:
    x = F.hardswish(m.conv2(F.relu(m.conv1(x))))
    return m.fc(F.avg_pool2d(x, 2).flatten(1))


def product(m: Any, x: Tensor) -> Any:
    x = F.relu(m.conv1(x))
    return m.fc(F.avg_pool2d(x * m.conv2(x).sigmoid(), 2).flatten(1))

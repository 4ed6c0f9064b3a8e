"""Small networks on which attributions are tested, and DeepLIFT's multipliers on them by hand."""

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


def multipliers_by_hand(model: nn.Module, images: Tensor, labels: Tensor, body: Body) -> dict[str, Tensor]:
    """DeepLIFT's multipliers at each convolution's output, by finite differences at each ReLU (rescale rule).

    A ReLU between two layers passes on m * (relu(a) - relu(b)) / (a - b); linear parts pass on m times their
    matrix. Writing each ReLU as a product with that constant ratio makes autograd do the bookkeeping.
    """
    references = images.roll(1, 0)
    conv1, conv2, fc = (model.get_submodule(name) for name in ("conv1", "conv2", "fc"))

    def ratio(a: Tensor, b: Tensor) -> Tensor:
        same = (a - b).abs() < 1e-10
        return torch.where(same, (a > 0).to(a), (a.relu() - b.relu()) / torch.where(same, torch.ones_like(a), a - b))

    with torch.no_grad():
        a1, b1 = conv1(images), conv1(references)
        r1 = ratio(a1, b1)
        extra = (a1.relu(), b1.relu()) if body is not functional else (0.0, 0.0)
        r2 = ratio(conv2(a1.relu()) + extra[0], conv2(b1.relu()) + extra[1])
    z1 = a1.clone().requires_grad_()
    z2 = conv2(z1 * r1).detach().requires_grad_()
    shortcut = z1 * r1 if body is not functional else 0.0
    logit = fc(F.avg_pool2d((z2 + shortcut) * r2, 2).flatten(1))[torch.arange(len(images)), labels].sum()
    (m2,) = torch.autograd.grad(logit, z2, retain_graph=True)
    through = fc(F.avg_pool2d((conv2(z1 * r1) + shortcut) * r2, 2).flatten(1))
    (m1,) = torch.autograd.grad(through[torch.arange(len(images)), labels].sum(), z1)
    return {"conv1": m1, "conv2": m2}


def gradients_by_hand(layer: nn.Module, inputs: Tensor, multipliers: Tensor) -> tuple[Tensor, Tensor]:
    """Mean |gradient| of sum(m * layer(x)), image by image, by autograd: for the weight, and per input channel."""
    weights, channels = [], []
    for image, m in zip(inputs, multipliers, strict=True):
        x = image[None].clone().requires_grad_()
        weight, of_input = torch.autograd.grad((layer(x) * m[None]).sum(), (layer.get_parameter("weight"), x))
        weights.append(weight.abs())
        channels.append(of_input[0].abs().flatten(1).sum(1))
    return torch.stack(weights).mean(0), torch.stack(channels).mean(0)

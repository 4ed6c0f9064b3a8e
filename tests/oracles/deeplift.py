"""DeepLIFT by hand, on two convolutions and a linear layer, one behind the other or joined."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def multipliers_by_hand(model: nn.Module, images: Tensor, labels: Tensor, joined: bool) -> dict[str, Tensor]:
    """DeepLIFT's multipliers at each convolution's output, by finite differences at each ReLU (rescale rule).

    A ReLU between two layers passes on m * (relu(a) - relu(b)) / (a - b); linear parts pass on m times their
    matrix. Writing each ReLU as a product with that constant ratio makes autograd do the bookkeeping. With `joined`
    the first ReLU is added to the second convolution.
    """
    references = images.roll(1, 0)
    conv1, conv2, fc = (model.get_submodule(name) for name in ("conv1", "conv2", "fc"))

    def ratio(a: Tensor, b: Tensor) -> Tensor:
        same = (a - b).abs() < 1e-10
        return torch.where(same, (a > 0).to(a), (a.relu() - b.relu()) / torch.where(same, torch.ones_like(a), a - b))

    with torch.no_grad():
        a1, b1 = conv1(images), conv1(references)
        r1 = ratio(a1, b1)
        extra = (a1.relu(), b1.relu()) if joined else (0.0, 0.0)
        r2 = ratio(conv2(a1.relu()) + extra[0], conv2(b1.relu()) + extra[1])
    z1 = a1.clone().requires_grad_()
    z2 = conv2(z1 * r1).detach().requires_grad_()
    shortcut = z1 * r1 if joined else 0.0
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

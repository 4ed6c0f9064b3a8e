"""What an error of each weight counts when weights come to share values."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import fx, nn

from explorer.graph.layers import ModelGraph
from explorer.graph.modules import layer_module

Importance = Mapping[str, torch.Tensor]
"""For every layer a tensor of its weight's shape, not negative."""


def root_fisher(model: fx.GraphModule, graph: ModelGraph, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the root of the diagonal of the empirical Fisher information of every layer's weight.

    It is the root mean square, over `images` (N x C x H x W), of the gradient of the loss for the class that the
    network predicts; the gradient of each image by itself, since squares of sums would cancel.
    """
    layers = {layer.name: model.get_submodule(layer.name) for layer in graph.layers}
    weights = {name: module.weight for name, module in layers.items() if isinstance(module, nn.Conv2d | nn.Linear)}
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    needed = [weight.requires_grad for weight in weights.values()]
    with torch.enable_grad():
        for weight in weights.values():
            weight.requires_grad_(True)
        for image in images:
            logits = model(image[None])
            loss = F.cross_entropy(logits, logits.argmax(1))
            for name, gradient in zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True):
                sums[name] += gradient.square()
    for weight, before in zip(weights.values(), needed, strict=True):
        weight.requires_grad_(before)
    return {name: (total / len(images)).sqrt() for name, total in sums.items()}


def put_in(model: fx.GraphModule, importance: Importance) -> None:
    """Put every layer's importance in the place of its weight, so that what removes filters removes it alike."""
    for name, values in importance.items():
        module = layer_module(model, name)
        module.weight = nn.Parameter(values.to(module.weight), requires_grad=False)

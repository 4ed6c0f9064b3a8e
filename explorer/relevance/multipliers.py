"""What an error of each weight and input does, from what an error of each output does, image by image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from explorer.graph.modules import TransposedConv2d
from explorer.graph.unfold import unfold_windows

PRODUCTS_AT_ONCE = 2**24
"""Elements of the largest intermediate tensor (assumed: 64 MiB of float32), which bounds the images at a time."""


def compute_weight_multipliers(
    module: nn.Conv2d | nn.Linear, inputs: Tensor, outputs: Tensor, power: int = 1
) -> Tensor:
    """Return the sum over images of |d target / d weight|^power, of the shape of the weight.

    `inputs` are what the layer read, `outputs` (N x out_channels x ...) the derivatives of each image's target by what
    it gave. Derivatives are those of single images: absolute values of sums over images would cancel.
    """
    if isinstance(module, nn.Linear) and inputs.ndim == 2:  # |a b| = |a| |b|, so that no image needs its own matrix
        return outputs.abs().pow(power).t() @ inputs.abs().pow(power)
    total = torch.zeros_like(module.weight.data)
    for read, derivative in zip(*(_chunks(module, each, inputs) for each in (inputs, outputs)), strict=True):
        total += _per_image(module, read, derivative).abs().pow(power).sum(0).view_as(total)
    return total


def compute_input_multipliers(module: nn.Conv2d | nn.Linear, inputs: Tensor, outputs: Tensor) -> Tensor:
    """Return the sum over images of |d target / d input| summed over positions, for each input channel (or feature).

    Arguments are those of `compute_weight_multipliers`. Counted is what this layer makes of its input, not others.
    """
    varied = inputs.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(module(varied), varied, outputs)
    return sum_per_channel(module, gradient.abs()).sum(0)


def sum_per_channel(module: nn.Module, values: Tensor) -> Tensor:
    """Return sums over positions (N x channels) of a layer's inputs or outputs; linear layers have features last."""
    if isinstance(module, nn.Linear):
        return values.flatten(1, -2).sum(1) if values.ndim > 2 else values
    return values.flatten(2).sum(2) if values.ndim > 2 else values


def _chunks(module: nn.Conv2d | nn.Linear, tensor: Tensor, inputs: Tensor) -> tuple[Tensor, ...]:
    """Return the tensor in parts of so few images that no intermediate tensor is large."""
    unfolded = inputs[0].numel()
    if isinstance(module, nn.Conv2d):
        unfolded *= module.kernel_size[0] * module.kernel_size[1]
    return torch.split(tensor, max(1, PRODUCTS_AT_ONCE // max(unfolded, module.weight.numel())))


def _per_image(module: nn.Conv2d | nn.Linear, inputs: Tensor, outputs: Tensor) -> Tensor:
    """Return d target / d weight of each image, with one axis for the images and any others for the weight."""
    if isinstance(module, nn.Linear):
        return torch.einsum("n...o,n...i->noi", outputs, inputs)
    count, groups = len(inputs), module.groups
    if isinstance(module, TransposedConv2d):
        return _per_image_transposed(module, inputs, outputs)
    columns = unfold_windows(module, inputs)
    columns = columns.view(count * groups, -1, columns.shape[2])
    rows = outputs.reshape(count * groups, module.out_channels // groups, -1)
    return (rows @ columns.transpose(1, 2)).view(count, *module.weight.shape)


def _per_image_transposed(module: TransposedConv2d, inputs: Tensor, outputs: Tensor) -> Tensor:
    weight = module.weight.detach()
    found = []
    with torch.enable_grad():
        for image, derivative in zip(inputs, outputs, strict=True):
            varied = weight.clone().requires_grad_()
            given = functional_call(module, {"weight": varied}, (image[None],))
            found.append(torch.autograd.grad(given, varied, derivative[None])[0])
    return torch.stack(found)

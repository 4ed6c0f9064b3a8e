"""Differentiable quantisers: forward rounds exactly as what is deployed, backward passes gradients straight through."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from explorer.compress.quantize import ActivationQuantizer, code_limit, quantize_weight


class TrainedActivation(nn.Module):
    """An `ActivationQuantizer` whose scale can be trained (Esser et al., 2020); its zero point is held.

    Gradients pass where the input is inside the range. `elements` is the size of the activation for one image.
    """

    def __init__(self, quantizer: ActivationQuantizer, elements: int) -> None:
        super().__init__()
        self.quantizer = quantizer
        self.scale = nn.Parameter(quantizer.scale.clone())
        self.gradient_share = 1.0 / math.sqrt(elements * (2**quantizer.bits - 1))

    def forward(self, x: Tensor) -> Tensor:
        """Quantise and dequantise `x`, of any shape."""
        return _RoundActivation.apply(x, self.scale, self)  # type: ignore[no-any-return, no-untyped-call]


class TrainedWeight(nn.Module):
    """Weights under trainable scales, one per output channel or one; where `mask` is False they stay zero.

    A parametrisation of the weight of a convolution or linear layer.
    """

    mask: Tensor | None

    def __init__(self, bits: int, scale: Tensor, mask: Tensor | None) -> None:
        super().__init__()
        self.bits = bits
        self.scale = nn.Parameter(scale.clone())
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        """Return codes times scales of the shape of `weight`."""
        scale = self.scale.expand(len(weight))
        return _RoundWeight.apply(weight, scale, self.mask, self.bits)  # type: ignore[no-any-return, no-untyped-call]


class SharedWeight(nn.Module):
    """Weights that share `centroids` (in codes), each always that of its cluster; scales are held.

    Gradients of a cluster are summed (Han et al., 2016) and divided by its size, so that a learning rate moves
    the weights of a cluster as far as it would move single ones. `values` are the centroids in the units of weights;
    the weight that this parametrisation stands for is not read.
    """

    scale: Tensor
    mask: Tensor | None
    clusters: Tensor
    sizes: Tensor

    def __init__(self, bits: int, scale: Tensor, mask: Tensor | None, clusters: Tensor, centroids: Tensor) -> None:
        super().__init__()
        members = clusters.flatten() if mask is None else clusters[mask]
        self.bits, self.unit = bits, float(scale.square().mean().sqrt())
        self.values = nn.Parameter(centroids * self.unit)
        self.register_buffer("scale", scale.clone())
        self.register_buffer("mask", mask)
        self.register_buffer("clusters", clusters)
        self.register_buffer("sizes", torch.bincount(members, minlength=len(centroids)).clamp_min(1))

    @property
    def centroids(self) -> Tensor:
        """Real-valued codes of the clusters."""
        return self.values.detach() / self.unit

    def forward(self, weight: Tensor) -> Tensor:
        """Return codes times scales of the shape of `weight`."""
        codes: Tensor = _RoundShared.apply(self.values, self)  # type: ignore[no-untyped-call]
        return codes * spread_per_channel(self.scale, codes)


def spread_per_channel(scale: Tensor, weight: Tensor) -> Tensor:
    """Return one value per output channel, shaped so that it multiplies a weight."""
    return scale.view(-1, *(1,) * (weight.ndim - 1))


def compute_weight_codes(weight: Tensor, scale: Tensor, bits: int, mask: Tensor | None) -> Tensor:
    """Return codes of single weights: those that `TrainedWeight` computes with."""
    codes = quantize_weight(weight if mask is None else weight * mask, scale, bits)
    return codes if mask is None else codes * mask


def compute_shared_codes(centroids: Tensor, clusters: Tensor, bits: int, mask: Tensor | None) -> Tensor:
    """Return codes of shared weights: those that `SharedWeight` computes with."""
    limit = code_limit(bits)
    codes = torch.round(centroids).clamp_(-limit, limit)[clusters]
    return codes if mask is None else codes * mask


class _RoundActivation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, owner: TrainedActivation) -> Tensor:
        owner.quantizer.scale = scale.detach()
        rounded = owner.quantizer(x)
        ctx.save_for_backward(x, rounded, scale)
        ctx.owner = owner
        return rounded  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, rounded, scale = ctx.saved_tensors
        quantizer = ctx.owner.quantizer
        step, below = float(scale), -quantizer.zero_point
        above = 2**quantizer.bits - 1 - quantizer.zero_point
        inside = torch.ops.aten.hardtanh_backward(gradient, x, (below - 0.5) * step, (above + 0.5) * step)
        if not ctx.needs_input_grad[1]:
            return inside, None, None
        # d rounded / d scale is rounded / scale, less x / scale where x is inside the range.
        # A difference of large sums, which bfloat16 would lose.
        gradient, rounded, passed, x = (
            each.to(torch.promote_types(each.dtype, torch.float32)) for each in (gradient, rounded, inside, x)
        )
        difference = (gradient * rounded).sum() - (passed * x).sum()
        change = difference / scale
        return inside, change * ctx.owner.gradient_share, None


class _RoundWeight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor, mask: Tensor | None, bits: int) -> Tensor:
        codes = compute_weight_codes(weight, scale, bits, mask)
        ctx.save_for_backward(weight, codes, scale, mask)
        ctx.limit = max(1, code_limit(bits))
        return codes * spread_per_channel(scale, codes)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, codes, scale, mask = ctx.saved_tensors
        real = weight / spread_per_channel(scale, weight)
        passed = gradient * (real.abs() <= ctx.limit + 0.5)
        passed = passed if mask is None else passed * mask
        if not ctx.needs_input_grad[1]:
            return passed, None, None, None
        change = (gradient * codes - passed * real).flatten(1).sum(1)
        return passed, change / math.sqrt(weight[0].numel() * ctx.limit), None, None


class _RoundShared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, owner: SharedWeight) -> Tensor:
        ctx.owner = owner
        return compute_shared_codes(owner.centroids, owner.clusters, owner.bits, owner.mask)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        owner: SharedWeight = ctx.owner
        masked = gradient if owner.mask is None else gradient * owner.mask
        summed = torch.zeros_like(owner.values).index_add_(0, owner.clusters.flatten(), masked.flatten())
        # `gradient` is that of the codes: `unit` times that of the weights, of which the mean is wanted.
        return summed / (owner.sizes * owner.unit), None

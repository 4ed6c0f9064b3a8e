"""DeepLIFT's multipliers through operations that are not linear (Shrikumar et al., 2017, section 3.5.1 and beyond)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

SMALLEST_DIFFERENCE = 1e-10
"""Differences of inputs up to it count as none, and the derivative takes their place (as in Captum 0.9).

In a tensor whose largest difference is below 1, up to this share of the largest: in a network with small activations
no single one would count otherwise, and contributions would not add up.
"""

Function = Callable[[Tensor], Tensor]


def rescale(function: Function, x: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Return (function(x), function(reference)) of a function of single elements, under the rescale rule.

    Backwards, a gradient is multiplied with the slope from reference to x: difference of outputs over difference of
    inputs, or the derivative at x where the inputs do not differ.
    """
    with torch.no_grad():
        given, before = function(x), function(reference)
        slope = _slope(function, x, reference, given, before)
    return _Sloped.apply(x, given, slope), before  # type: ignore[no-untyped-call]


def multiply(
    x: Tensor, y: Tensor, x_reference: Tensor, y_reference: Tensor, product: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Return product(x, y), linear in either operand, so that the two share the difference of products without a rest.

    x y - a b = (x - a)(y + b)/2 + (y - b)(x + a)/2: the mean over the two orders in which they can change.
    """
    with torch.no_grad():
        exact = product(x, y)
        x_mean, y_mean = (x + x_reference) / 2, (y + y_reference) / 2
    spread = product(x, y_mean) + product(x_mean, y)
    return spread + (exact - spread).detach()


def max_pool(pool: nn.MaxPool2d | nn.AdaptiveMaxPool2d, x: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pooled pair; contributions go to where either has its maximum (the rule of Captum 0.9).

    What x has more than the reference belongs to the maximum of x, what it has less to that of the reference.
    """
    with torch.no_grad():
        given, at = _with_indices(pool, x)
        before, at_before = _with_indices(pool, reference)
    return _MaxPooled.apply(x, given, before, at, at_before, reference), before  # type: ignore[no-untyped-call]


def apply_softmax(x: Tensor, reference: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Return the softmax of both along an axis, as exponentials times the reciprocal of their sum, by their rules.

    Both are shifted by one number along the axis, so that no exponential overflows.
    """
    with torch.no_grad():
        shift = torch.maximum(x, reference).amax(axis, keepdim=True)
    powers, powers_before = rescale(torch.exp, x - shift, reference - shift)
    sums = powers.sum(axis, keepdim=True), powers_before.sum(axis, keepdim=True)
    parts, parts_before = rescale(torch.reciprocal, *sums)
    given = multiply(powers, parts, powers_before, parts_before, torch.mul)
    return given, powers_before * parts_before


def normalise(x: Tensor, reference: Tensor, axes: tuple[int, ...], epsilon: float) -> tuple[Tensor, Tensor]:
    """Return both less their mean and over their standard deviation along `axes`: a layer, group or instance norm."""
    centred = x - x.mean(axes, keepdim=True)
    centred_before = reference - reference.mean(axes, keepdim=True)
    squares, squares_before = rescale(torch.square, centred, centred_before)
    variances = squares.mean(axes, keepdim=True) + epsilon, squares_before.mean(axes, keepdim=True) + epsilon
    parts, parts_before = rescale(torch.rsqrt, *variances)
    return multiply(centred, parts, centred_before, parts_before, torch.mul), centred_before * parts_before


def _slope(function: Function, x: Tensor, reference: Tensor, given: Tensor, before: Tensor) -> Tensor:
    difference = x - reference
    same = _same(difference)
    slope = (given - before) / difference
    if not bool(same.any()):
        return slope
    if isinstance(function, nn.ReLU):
        return torch.where(same, (x > 0).to(x), slope)
    with torch.enable_grad():
        varied = x.detach().requires_grad_()
        (derivative,) = torch.autograd.grad(function(varied).sum(), varied)
    return torch.where(same, derivative, slope)


def _same(difference: Tensor) -> Tensor:
    """Return where inputs do not differ."""
    sizes = difference.abs()
    return sizes <= SMALLEST_DIFFERENCE * sizes.amax().clamp_max(1.0)


def _with_indices(pool: nn.MaxPool2d | nn.AdaptiveMaxPool2d, x: Tensor) -> tuple[Tensor, Tensor]:
    if isinstance(pool, nn.AdaptiveMaxPool2d):
        found: tuple[Tensor, Tensor] = F.adaptive_max_pool2d_with_indices(x, pool.output_size)
        return found
    sizes = pool.kernel_size, pool.stride, pool.padding, pool.dilation
    pooled: tuple[Tensor, Tensor] = F.max_pool2d_with_indices(x, *sizes, pool.ceil_mode)  # type: ignore[arg-type]
    return pooled


class _Sloped(torch.autograd.Function):
    """A given result whose gradient is multiplied with a given slope."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, given: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return given.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return gradient * slope, None, None


class _MaxPooled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, given: Tensor, before: Tensor, at: Tensor, at_before: Tensor, reference: Tensor
    ) -> Tensor:
        ctx.save_for_backward(x - reference, given - before, at, at_before)
        return given.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        difference, change, at, at_before = ctx.saved_tensors
        contributed = gradient * change
        spread = torch.zeros_like(difference).flatten(2)
        spread.scatter_add_(2, at.flatten(2), torch.where(change > 0, contributed, 0).flatten(2))
        spread.scatter_add_(2, at_before.flatten(2), torch.where(change < 0, contributed, 0).flatten(2))
        spread = spread.view_as(difference)
        # Where nothing differs, nothing is contributed: any finite multiplier will do, and the derivative's is used.
        local = torch.zeros_like(difference).flatten(2).scatter_add_(2, at.flatten(2), gradient.flatten(2))
        same = _same(difference)
        return torch.where(same, local.view_as(difference), spread / difference), *(None,) * 5

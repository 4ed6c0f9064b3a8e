"""How relevance goes back through single operations: to what contributed positively, in proportion (the z+ rule)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call

SMALLEST_SUM = 1e-30
"""Sums of positive contributions below it count as none (assumed: relevance over it stays a float32 number)."""

Linear = Callable[[Tensor], Tensor]
"""A linear function without negative coefficients."""


def run_layer(module: nn.Conv2d | nn.Linear, x: Tensor) -> Tensor:
    """Return what the layer gives; relevance goes to the inputs as their positive products with the weights.

    With inputs that are not negative this is the z+ rule (Montavon et al., 2017, eq. 8), with inputs of any sign the
    rule of alpha 1 and beta 0 (Bach et al., 2015, eq. 60); an output without positive products hands on to the negative
    ones. Biases get none; what reaches an output without any product came from its bias alone, and is dropped.
    """
    weight = module.weight.detach()
    rising, falling = (_linear(module, each) for each in (weight.clamp(min=0), weight.clamp(max=0)))
    given = module(x.detach())
    return _Spread.apply(x, given, rising, falling)  # type: ignore[no-untyped-call, no-any-return]


def run_average(function: Linear, x: Tensor) -> Tensor:
    """Return what a mean, a sum or an interpolation gives; relevance goes to positive inputs, to all without any."""
    return _Spread.apply(x, function(x.detach()), function, None)  # type: ignore[no-untyped-call, no-any-return]


def pass_on(x: Tensor, given: Tensor) -> Tensor:
    """Return `given`, a function of the single elements of x; relevance stays with the element."""
    return _Passed.apply(x.expand_as(given), given.detach())  # type: ignore[no-untyped-call, no-any-return]


def divide(given: Tensor, x: Tensor, y: Tensor, first: Tensor) -> Tensor:
    """Return `given`, made of x and y; the share `first` (of its shape) of the relevance goes to x, the rest to y."""
    operands = x.expand_as(given), y.expand_as(given)
    return _Joined.apply(*operands, given.detach(), first)  # type: ignore[no-untyped-call, no-any-return]


def split_sum(given: Tensor, x: Tensor) -> Tensor:
    """Return the share of x in the sum `given`, of the positive parts of both summands; a half where there are none."""
    mine, other = x.detach().expand_as(given).clamp(min=0), (given - x).detach().clamp(min=0)
    total = mine + other
    return torch.where(total > SMALLEST_SUM, mine / total, 0.5)


def _linear(module: nn.Conv2d | nn.Linear, weight: Tensor) -> Linear:
    fixed = {"weight": weight} if module.bias is None else {"weight": weight, "bias": torch.zeros_like(module.bias)}
    return lambda x: functional_call(module, fixed, (x,))


class _Spread(torch.autograd.Function):
    """A given result; what comes back is spread over the inputs in proportion to what they add to the result.

    The two linear functions have the weights that are not negative and those that are not positive.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, given: Tensor, rising: Linear, falling: Linear | None) -> Tensor:
        ctx.save_for_backward(x)
        ctx.rising, ctx.falling = rising, falling
        return given.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        above, below = x.clamp(min=0), x.clamp(max=0)
        spread, reached = _in_proportion(relevance, ((above, ctx.rising), (below, ctx.falling)))
        left = torch.where(reached, 0, relevance)
        if bool(left.any()):
            spread = spread + _in_proportion(left, ((above, ctx.falling), (below, ctx.rising)))[0]
        return spread, None, None, None


def _in_proportion(relevance: Tensor, sides: Sequence[tuple[Tensor, Linear | None]]) -> tuple[Tensor, Tensor]:
    """Return (relevance of the inputs by their share in the sum of these functions, where that sum is not 0)."""
    acting = [(part, linear) for part, linear in sides if linear is not None and bool(part.any())]
    if not acting:
        return torch.zeros_like(sides[0][0]), torch.zeros_like(relevance, dtype=torch.bool)
    total = torch.stack([linear(part) for part, linear in acting]).sum(0)
    reached = total.abs() > SMALLEST_SUM
    ratio = torch.where(reached, relevance / total, 0)
    return torch.stack([part * _transposed(linear, part, ratio) for part, linear in acting]).sum(0), reached


def _transposed(linear: Linear, x: Tensor, values: Tensor) -> Tensor:
    with torch.enable_grad():
        varied = x.detach().requires_grad_()
        (product,) = torch.autograd.grad(linear(varied), varied, values)
    return product


class _Passed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, given: Tensor) -> Tensor:
        return given.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor | None, ...]:
        return relevance, None


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, given: Tensor, first: Tensor) -> Tensor:
        ctx.save_for_backward(first)
        return given.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor | None, ...]:
        (first,) = ctx.saved_tensors
        return relevance * first, relevance * (1 - first), None, None

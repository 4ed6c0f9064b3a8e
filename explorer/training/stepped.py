"""Weights at a fixed step under a price for their code length, which is set so that they take the bytes asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from explorer.compress.quantize import code_limit
from explorer.settings.values import MAXIMUM_BITS

LIMIT = code_limit(MAXIMUM_BITS)
LEAST_PRICE, LARGEST_PRICE = 1e-3, 10.0
"""Squared steps that a bit may cost: below the least no integer changes but one at the very edge of its interval."""
UNSEEN = 0.1
"""Added to how often each number occurs, so that one that does not has a code, too (assumed)."""
GAIN = 2.0
"""By which power of the excess of bytes the price grows with every step (assumed: bytes fall slowly with it)."""
TOLERANCE = 0.002
"""Share of bits above those asked for that counts as none: about what the price lets them sway by."""
FALLING = 0.5
"""Share of the steps in which the bytes fall to what is asked (assumed)."""


class SteppedWeight(nn.Module):
    """Weights as whole numbers of one step: each the nearest one, or one nearer to zero whose code is shorter.

    A parametrisation of the weight of a layer. Of the nearest number q to w / step, the one next to it towards zero and
    zero itself, the one of least (w / step - q)^2 - price log2 p(q) is taken, p being the shares of the numbers among
    those of the layer as they were last (entropy-constrained quantisation; Chou, Lookabaugh and Gray, 1989). Gradients
    pass straight through to the float weight, so that one that has become zero comes back where the loss asks for it.
    """

    scale: Tensor
    mask: Tensor | None
    lengths: Tensor
    price: Tensor

    def __init__(self, weight: Tensor, scale: Tensor, mask: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("scale", scale.clone())
        self.register_buffer("mask", mask)
        self.register_buffer("price", torch.tensor(LEAST_PRICE))
        self.register_buffer("lengths", torch.zeros(2 * LIMIT + 1))
        self.counts = torch.zeros(2 * LIMIT + 1)
        self.count(torch.round(self._in_steps(weight.detach())).clamp_(-LIMIT, LIMIT), learn=True)

    def forward(self, weight: Tensor) -> Tensor:
        """Return numbers times the step, of the shape of `weight`."""
        return _Round.apply(weight, self)  # type: ignore[no-any-return, no-untyped-call]

    def choose(self, weight: Tensor) -> Tensor:
        """Return the numbers (a float tensor)."""
        real = self._in_steps(weight)
        nearest = torch.round(real).clamp_(-LIMIT, LIMIT)
        best, least = nearest, self._cost(real, nearest)
        for other in (nearest - nearest.sign(), torch.zeros_like(nearest)):
            cost = self._cost(real, other)
            best, least = torch.where(cost < least, other, best), torch.minimum(cost, least)
        return best if self.mask is None else best * self.mask

    def count(self, codes: Tensor, *, learn: bool) -> None:
        """Count the numbers, and take code lengths from their shares where they are to be learnt."""
        self.counts = torch.bincount((codes.flatten() + LIMIT).long(), minlength=len(self.lengths)).float()
        if learn:
            counts = self.counts + UNSEEN
            self.lengths = -torch.log2(counts / counts.sum())

    @property
    def num_bits(self) -> float:
        """Bits of all numbers, as they were last, at their entropy."""
        counts = self.counts[self.counts > 0].double()
        return float((counts * torch.log2(counts.sum() / counts)).sum())

    def _in_steps(self, weight: Tensor) -> Tensor:
        return weight / self.scale.view(-1, *(1,) * (weight.ndim - 1))

    def _cost(self, real: Tensor, codes: Tensor) -> Tensor:
        return (real - codes).square_().add_(self.price * self.lengths[(codes + LIMIT).long()])


class Pressure:
    """Sets the price of all layers step by step so that they come to take `share` of the bits that they took first."""

    def __init__(self, layers: Sequence[SteppedWeight], share: float, steps: int) -> None:
        self.layers, self.steps, self.done = layers, steps, 0
        self.first = sum(layer.num_bits for layer in layers)
        self.asked = share * self.first

    @property
    def excess(self) -> float:
        """By what share the numbers take more than is asked, 0 where they do not by more than TOLERANCE."""
        found = sum(layer.num_bits for layer in self.layers)
        above = found / self.asked - 1.0 if self.asked else 0.0
        return above if above > TOLERANCE else 0.0

    def advance(self) -> None:
        """Move the price after a step towards what gives the bits that are due."""
        self.done += 1
        if not self.asked:
            return
        due = self.first * (self.asked / self.first) ** min(1.0, self.done / (FALLING * self.steps))
        found = sum(layer.num_bits for layer in self.layers)
        price = float(self.layers[0].price) * (found / due) ** GAIN
        for layer in self.layers:
            layer.price.fill_(min(max(price, LEAST_PRICE), LARGEST_PRICE))

    def state_dict(self) -> dict[str, Any]:
        """Return what a training that goes on has to know; the price is the layers'."""
        return {"done": self.done}

    def load_state_dict(self, known: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self.done = int(known["done"])


def compare_rates(layers: Sequence[SteppedWeight], optimizer: str) -> list[float]:
    """Return the learning rate of each layer's weights relative to that of others.

    Steps are such that one of any layer moves the outputs alike. Weights move by steps at one rate in all layers where
    their own grows with the square of the step (sgd: the gradient by the step's count is the step's share of that by
    the weight), or with the step (adam, whose moves do not depend on the size of gradients). The mean over weights, in
    logarithms, stays 1. On ResNet-20 in steps of 0.0184, 3 epochs of 8,000 images at 0.0003 bring the divergence from
    the float network from 0.0750 to 0.0721, at one rate for all weights to 0.0810.
    """
    if not layers:
        return []
    logs = np.log([float(layer.scale.mean()) for layer in layers])
    middle = np.average(logs, weights=[float(layer.counts.sum()) for layer in layers])
    return [float(rate) for rate in np.exp((logs - middle) * (2 if optimizer == "sgd" else 1))]


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, owner: SteppedWeight) -> Tensor:
        codes = owner.choose(weight)
        owner.count(codes, learn=owner.training)
        ctx.mask = owner.mask
        return codes * owner.scale.view(-1, *(1,) * (codes.ndim - 1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return gradient if ctx.mask is None else gradient * ctx.mask, None

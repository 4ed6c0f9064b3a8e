"""Layers, sums and quantisers on integers held as float32 around zero, or as uint8 codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.compress.weights import get_codes
from explorer.graph.modules import TransposedConv2d, inputs_first

WHOLE = 2e-7
"""Share of a bias in units of the sums up to which float32 may have moved it from a whole number."""
Unary = Callable[[Tensor], Tensor]
Binary = Callable[[Tensor, Tensor], Tensor]


class NotFiniteError(Exception):
    """A value is NaN, which no code stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeGrid:
    """Codes from 0 on, of at most 8 bits, that stand for scale * (code - zero_point)."""

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Codes of a grid, clipped to low..high; as uint8 where they are `packed`, else float32 less the zero point."""

    grid: CodeGrid
    low: int
    high: int
    packed: bool

    def clip(self, codes: Tensor) -> Tensor:
        """Clip uint8 codes, in place."""
        return codes if (self.low, self.high) == (0, 255) else codes.clamp_(self.low, self.high)

    def round(self, x: Tensor) -> Tensor:
        """Round multiples of the scale, in place.

        Raises:
            NotFiniteError: For NaN that has to be packed.
        """
        zero_point = self.grid.zero_point
        found = x.round_().clamp_(self.low - zero_point, self.high - zero_point)
        if not self.packed:
            return found
        if bool(found.isnan().any()):
            raise NotFiniteError
        return found.add_(zero_point).to(torch.uint8)


def unpack(grid: CodeGrid) -> Unary:
    """Return what turns uint8 codes into float32 less the zero point."""
    return lambda x: x.float().sub_(grid.zero_point)


def pack(grid: CodeGrid) -> Unary:
    """Return the inverse of `unpack`."""
    return lambda x: x.add(grid.zero_point).to(torch.uint8)


def quantize(scale: float, to: Target) -> Unary:
    """Return what rounds `scale` times a tensor."""
    unit = to.grid.scale / scale
    return lambda x: to.round(channels_last(x) / unit)


def add(scale: float, other: float, to: Target | None) -> Binary:
    """Return what adds `scale` times a tensor and `other` times another: codes of `to`, or a multiple of `scale`."""
    share = other / scale
    if to is None:
        return lambda x, y: torch.add(x, y, alpha=share)
    gain = scale / to.grid.scale
    return lambda x, y: to.round(torch.add(x, y, alpha=share).mul_(gain))


def make_layer(module: nn.Conv2d | nn.Linear, scale: float, to: Target | None) -> Unary:
    """Return a layer with codes as a function of its input divided by `scale`: codes of `to`, or values.

    Its sums are of integers, the bias among them, which float32 holds exactly up to 2^24; scales come after them.
    """
    codes, own = get_codes(module)
    grid, unit = own.double() * scale, 1.0 if to is None else to.grid.scale
    gain = (grid / unit).float().view(-1, *(1,) * (codes.ndim - 2))
    bias = None
    if module.bias is not None:
        bias = module.bias.detach().double() / grid
        whole = torch.round(bias)
        bias = torch.where((bias - whole).abs() <= WHOLE * whole.abs(), whole, bias).float()
    add_up = _make_sums(module, codes.float(), bias)

    def compute(x: Tensor) -> Tensor:
        found = add_up(x).mul_(gain)
        return found if to is None else to.round(found)

    return compute


def channels_last(x: Tensor) -> Tensor:
    """Return a tensor of four axes with its channels next to each other in memory."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def _make_sums(module: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor | None) -> Unary:
    if isinstance(module, nn.Linear):
        return lambda x: F.linear(x, weight, bias)
    if isinstance(module, TransposedConv2d):
        turned = inputs_first(weight, module.groups)
        places = (module.stride, module.padding, module.output_padding, module.groups, module.dilation)
        return lambda x: F.conv_transpose2d(x, turned, bias, *places)  # type: ignore[arg-type]
    last = weight.contiguous(memory_format=torch.channels_last)
    given = (module.stride, module.padding, module.dilation, module.groups)
    return lambda x: F.conv2d(x, last, bias, *given)  # type: ignore[arg-type]

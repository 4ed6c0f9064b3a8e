"""Layers, sums and quantisers on integers held as float32 around zero, or as uint8 codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.compress.weights import get_codes
from explorer.graph.modules import BatchNorm, TransposedConv2d, inputs_first

WHOLE = 2e-7
"""Share of a bias in units of the sums up to which float32 may have moved it from a whole number."""
EXACT_SUM, NEIGHBOURS = 2.0**24, 2
"""Largest whole number up to which float32 holds all, and steps of its precision that a gain is moved by at most."""
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
        if bool(found.sum().isnan()):  # there is no infinity any more
            raise NotFiniteError
        return to_bytes(found if zero_point == 0 else found.add_(zero_point))


def to_bytes(codes: Tensor) -> Tensor:
    """Return whole numbers from 0 to 255 as uint8, by way of int16: torch takes four times as long without."""
    return codes.to(torch.int16).to(torch.uint8)


def unpack(grid: CodeGrid) -> Unary:
    """Return what turns uint8 codes into float32 less the zero point."""
    return lambda x: x.float().sub_(grid.zero_point)


def pack(grid: CodeGrid) -> Unary:
    """Return the inverse of `unpack`."""
    return lambda x: to_bytes(x.add(grid.zero_point))


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


def normalize(norm: BatchNorm, scale: float, to: Target | None) -> Unary:
    """Return a batch norm of `scale` times a tensor: codes of `to`, or values."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = torch.rsqrt(norm.running_var + norm.eps)
    offset = -norm.running_mean * gain
    if norm.affine:
        gain, offset = gain * norm.weight.data, offset * norm.weight.data + norm.bias.data
    unit = 1.0 if to is None else to.grid.scale
    gain, offset = gain * (scale / unit), offset / unit

    def compute(x: Tensor) -> Tensor:
        shape = (-1, *(1,) * (x.ndim - 2))
        found = torch.addcmul(offset.view(shape), x, gain.view(shape))
        return found if to is None else to.round(found)

    return compute


def make_layer(module: nn.Conv2d | nn.Linear, scale: float, to: Target | None) -> Unary:
    """Return a layer with codes as a function of its input divided by `scale`: codes of `to`, or values.

    Its sums are of integers, the bias among them, which float32 holds exactly up to 2^24; scales come after them.
    """
    codes, own = get_codes(module)
    grid, unit = own.double() * scale, 1.0 if to is None else to.grid.scale
    gain = (grid / unit).float()
    if to is not None:
        sums, expected = find_borders(grid / unit, to)
        gain = choose_factors(
            grid / unit, lambda tried: (torch.round(sums.float() * tried[:, None]) != expected).sum(1)
        )
    gain = gain.view(-1, *(1,) * (codes.ndim - 2))
    bias = None if module.bias is None else count_biases(module.bias.detach().double(), grid).float()
    add_up = _make_sums(module, codes.float(), bias)

    def compute(x: Tensor) -> Tensor:
        found = add_up(x).mul_(gain)
        return found if to is None else to.round(found)

    return compute


def choose_factors(factor: Tensor, count_wrong: Unary) -> Tensor:
    """Return float32 factors (one for each filter) by which as few sums as can be round to a wrong code.

    Sums are whole numbers, of which few come often: where one of them lies on the border of two codes up to the
    precision of float32, so do many values of a filter. Of the neighbours of its factor it gets the best.

    Args:
        count_wrong: How many sums round wrong with such factors, for each filter.
    """
    best = factor.float()
    least = count_wrong(best)
    if bool(least.any()):
        for end in (torch.inf, 0.0):
            tried = factor.float()
            for _ in range(NEIGHBOURS):
                tried = torch.nextafter(tried, torch.full_like(tried, end))
                left = count_wrong(tried)
                best, least = torch.where(left < least, tried, best), torch.minimum(left, least)
    return best


def find_borders(gain: Tensor, to: Target) -> tuple[Tensor, Tensor]:
    """Return the sums (filters x borders) on both sides of each border of two codes, and their codes, not shifted.

    `gain` (one for each filter, float64) is what a sum, the bias among it, is multiplied with.
    """
    borders = torch.arange(to.low - to.grid.zero_point, to.high - to.grid.zero_point, device=gain.device) + 0.5
    below = torch.floor(borders / gain[:, None])
    sums = torch.cat((below, below + 1), dim=1).clamp(-EXACT_SUM, EXACT_SUM).nan_to_num()
    return sums, torch.round(sums * gain[:, None])


def count_biases(bias: Tensor, grid: Tensor) -> Tensor:
    """Return biases as multiples of the grids of their filters' sums (both float64), whole where they may be so."""
    count = bias / grid
    whole = torch.round(count)
    return torch.where((count - whole).abs() <= WHOLE * whole.abs(), whole, count)


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

"""Layers, sums and quantisers on integers held as float32 around zero, or as uint8 codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.compress.weights import get_codes
from explorer.graph.modules import BatchNorm, TransposedConv2d, inputs_first

WHOLE = 2e-7
"""Share of a bias in units of the sums up to which float32 may have moved it from a whole number."""
EXACT_SUM = 2.0**24
"""Largest whole number up to which float32 holds all."""
STEP, MOVES = 2.0**-23, (0, -1, 1, -2, 2)
"""A step of float32's precision, as a share, and by how many of them a factor may be moved (assumed)."""
NEAR = 2.0**-20
"""Share of what is added up by which float32 operations and moved factors may be wrong (ten of 2^-24, rounded up)."""
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
        borders = Borders.find(grid / unit, to)
        sums = borders.sums.float()
        (gain,) = borders.choose(lambda gain: sums * gain, gain)
    gain = gain.view(-1, *(1,) * (codes.ndim - 2))
    bias = None if module.bias is None else count_biases(module.bias.detach().double(), grid).float()
    add_up = _make_sums(module, codes.float(), bias)

    def compute(x: Tensor) -> Tensor:
        found = add_up(x).mul_(gain)
        return found if to is None else to.round(found)

    return compute


@dataclass(frozen=True, slots=True)
class Borders:
    """Sums so near to the border of two codes that float32 may round them wrong: whole numbers, the bias among them.

    Of all tensors of one axis, with what filters they are of, and the codes that they round to, less the zero point.
    """

    filters: Tensor
    sums: Tensor
    codes: Tensor

    @classmethod
    def find(cls, gain: Tensor, to: Target, bias: Tensor | None = None, near: float = NEAR) -> Borders:
        """Return those of filters that multiply sums with `gain`, and add `bias` of them apart (all in float64).

        `near` is the share of what is added up that still counts as near.
        """
        zero_point, apart = to.grid.zero_point, 0 if bias is None else bias.abs()[:, None]
        halves = torch.arange(to.low - zero_point, to.high - zero_point, device=gain.device) + 0.5
        below = torch.floor(halves / gain[:, None])
        sums = torch.cat((below, below + 1), dim=1)
        real = sums * gain[:, None]
        added = ((sums.abs() + 2 * apart) * gain[:, None]).clamp(min=zero_point)
        close = ((real - halves.repeat(2)).abs() <= near * added) & (sums.abs() <= EXACT_SUM)
        return cls(close.nonzero()[:, 0], sums[close], torch.round(real[close]))

    def choose(self, compute: Callable[..., Tensor], *factors: Tensor, zero_point: int = 0) -> list[Tensor]:
        """Return float32 factors (one of each kind for each filter) by which these sums round right where they can.

        Sums are whole numbers, of which few come often: where one of them lies on the border of two codes up to the
        precision of float32, so do many values of a filter. Of the neighbours of its factors it gets the best.

        Args:
            compute: What becomes of the sums, the zero point added, with such factors for each of them.
        """
        moves = sorted(product(MOVES, repeat=len(factors)), key=lambda steps: sum(map(abs, steps)))
        moved = 1 + STEP * torch.tensor(moves, device=self.sums.device).T[:, :, None]  # kinds x moves x filters
        tried = [factor * by for factor, by in zip(factors, moved, strict=True)]
        values = compute(*(each[:, self.filters] for each in tried))
        wrong = (torch.round(values) != self.codes + zero_point) / (1 + self.codes.abs())  # those near 0 come most
        best = wrong.new_zeros(tried[0].shape).index_add_(1, self.filters, wrong).argmin(0, keepdim=True)
        return [each.gather(0, best)[0] for each in tried]


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

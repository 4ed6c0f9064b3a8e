"""Convolutions and linear layers of 8-bit codes by oneDNN's operators, private to torch, where these prove right."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, MutableMapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from explorer.compress.compiled.codes import (
    Binary,
    Borders,
    CodeGrid,
    Target,
    Unary,
    add,
    channels_last,
    count_biases,
    quantize,
    unpack,
)
from explorer.compress.weights import get_codes
from explorer.graph.modules import TransposedConv2d
from explorer.graph.torch_private import list_padding

LARGEST_FACTOR = 1e30
"""Scales and biases above it are left to float arithmetic, in which what overflows can be seen."""
LARGEST_IDENTITY = 256
"""Channels up to which codes are added or rounded anew by a 1 x 1 convolution, whose work grows with their square
(measured: at 256 it takes what passes of float arithmetic take)."""
HALF = 128
"""What int8 codes are less than uint8 ones; both have the same bits but for the first."""

_PACKED: MutableMapping[Tensor, dict[Hashable, Tensor]] = WeakTensorKeyDictionary()
"""Of codes that somebody holds, which those that remember them limit, what they were packed to."""


@functools.cache
def find_fault() -> str:
    """Return why the operators are not used on this machine; empty where they give the right numbers.

    Their sums are compared with those of float64, saturating ones among them, which processors without VNNI get wrong.
    """
    try:
        with torch.random.fork_rng(devices=[]):  # layers are drawn before their codes are set
            wrong = [name for name, test in _TESTS.items() if not test()]
    except Exception as error:  # whatever an operator that is not there, or not as it was, may raise
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
    return f"wrong numbers of {', '.join(wrong)}" if wrong else ""


def can_compute(module: nn.Conv2d | nn.Linear) -> bool:
    """Return whether a layer with codes is one that the operators compute, with numbers in their range."""
    bias = torch.zeros(1) if module.bias is None else module.bias
    largest = max(float(get_codes(module)[1].abs().max()), float(bias.abs().max()))
    if not largest < LARGEST_FACTOR:  # NaN is not either
        return False
    if isinstance(module, nn.Linear):
        return True
    sides = list_padding(module)
    return not isinstance(module, TransposedConv2d) and sides[::2] == sides[1::2]


def make_layer(module: nn.Conv2d | nn.Linear, grid: CodeGrid, to: Target | None) -> Unary:
    """Return what computes a layer that `can_compute` accepts on codes of `grid`: codes of `to`, or float32 values."""
    codes, scale = get_codes(module)
    bias = None if module.bias is None else module.bias.detach()
    if to is not None:
        scale, bias = _round_as_exactly(scale, bias, grid, to)
    if isinstance(module, nn.Linear):
        return _make_linear(codes, scale, bias, grid, to)
    padding: list[int] = list_padding(module)[::-2]  # its sides are equal
    places = ([int(step) for step in module.stride], padding, [int(step) for step in module.dilation])
    return _make_conv(codes, scale, bias, grid, to, places, module.groups)


def _round_as_exactly(scale: Tensor, bias: Tensor | None, grid: CodeGrid, to: Target) -> tuple[Tensor, Tensor | None]:
    """Return scales and biases with which sums round as in float64, oneDNN's order of float32 operations kept."""
    sums_grid = scale.double() * grid.scale
    counts = torch.zeros_like(sums_grid) if bias is None else count_biases(bias.double(), sums_grid)
    borders = Borders.find(sums_grid / to.grid.scale, to, counts)
    products = (borders.sums - counts[borders.filters]).float() * grid.scale
    unit, zero_point = torch.tensor(1.0) / to.grid.scale, _describe(to)[1]

    def compute(scale: Tensor, bias: Tensor | float = 0.0) -> Tensor:
        return (products * scale + bias) * unit + zero_point

    if bias is None:
        return borders.choose(compute, scale, zero_point=zero_point)[0], None
    scale, bias = borders.choose(compute, scale, bias, zero_point=zero_point)
    return scale, bias


def make_rounding(grid: CodeGrid, to: Target) -> Unary:
    """Return what gives codes of `grid` anew on another grid."""
    made: dict[int, Unary] = {}
    by_float, numbers = quantize(grid.scale, to), unpack(grid)

    def compute(x: Tensor) -> Tensor:
        channels = x.shape[1]
        if x.ndim != 4 or channels > LARGEST_IDENTITY:
            return by_float(numbers(x))
        if channels not in made:
            made[channels] = _make_conv(*_identity(channels), grid, to)
        return made[channels](x)

    return compute


def make_addition(grid: CodeGrid, other: CodeGrid, to: Target) -> Binary:
    """Return what adds codes of two grids."""
    made: dict[int, Binary] = {}
    by_float, numbers, others = add(grid.scale, other.scale, to), unpack(grid), unpack(other)

    def compute(x: Tensor, y: Tensor) -> Tensor:
        channels = x.shape[1]
        if x.ndim != 4 or channels > LARGEST_IDENTITY or x.shape != y.shape:
            return by_float(numbers(x), others(y))
        if channels not in made:
            made[channels] = _make_sum(channels, grid, other, to)
        return made[channels](x, y)

    return compute


def _make_sum(channels: int, grid: CodeGrid, other: CodeGrid, to: Target) -> Binary:
    weight, scale, _ = _identity(channels)
    packed, zeros = _pack(weight, scale, grid, _POINTWISE, 1), torch.zeros(channels, dtype=torch.int32)
    out = _describe(to)
    summand = (other.scale, other.zero_point - (HALF if out[2] is torch.int8 else 0))

    def compute(x: Tensor, y: Tensor) -> Tensor:
        held = channels_last(y).clone()  # which the sum is written into
        if out[2] is torch.int8:
            held = held.bitwise_xor_(HALF).view(torch.int8)
        summed: Tensor = torch.ops.onednn.qconv2d_pointwise.binary(
            *(channels_last(x), grid.scale, grid.zero_point, packed, scale, zeros),
            *(held, None, *_POINTWISE, 1, *out, *summand, "sum", 1.0, "none", [], ""),
        )
        return _finish(summed, to)

    return compute


def _describe(to: Target | None) -> tuple[float, int, torch.dtype]:
    """Return scale, zero point and type of what an operator is asked for.

    It adds the zero point in float32 before it rounds, and so loses digits of what is small beside it: codes are asked
    for less 128 where that brings their zero point nearer to 0.
    """
    if to is None:
        return 1.0, 0, torch.float32
    if to.grid.zero_point > HALF // 2:
        return to.grid.scale, to.grid.zero_point - HALF, torch.int8
    return to.grid.scale, to.grid.zero_point, torch.uint8


def _finish(found: Tensor, to: Target | None) -> Tensor:
    """Return codes of a target from what an operator gave when asked for what `_describe` says, or values."""
    if to is None:
        return found
    return to.clip(found.view(torch.uint8).bitwise_xor_(HALF) if found.dtype is torch.int8 else found)


_Places = tuple[list[int], list[int], list[int]]
"""Stride, padding and dilation."""
_POINTWISE: _Places = ([1, 1], [0, 0], [1, 1])


def _make_conv(
    codes: Tensor,
    scale: Tensor,
    bias: Tensor | None,
    grid: CodeGrid,
    to: Target | None,
    places: _Places = _POINTWISE,
    groups: int = 1,
) -> Unary:
    packed, zeros = _pack(codes, scale, grid, places, groups), torch.zeros(len(codes), dtype=torch.int32)
    out = _describe(to)

    def convolve(x: Tensor) -> Tensor:
        found: Tensor = torch.ops.onednn.qconv2d_pointwise(
            *(
                channels_last(x),
                grid.scale,
                grid.zero_point,
                packed,
                scale,
                zeros,
                bias,
                *places,
                groups,
                *out,
                "none",
                [],
                "",
            )
        )
        return _finish(found, to)

    return convolve


def _make_linear(codes: Tensor, scale: Tensor, bias: Tensor | None, grid: CodeGrid, to: Target | None) -> Unary:
    packed = _remember(codes, (), lambda: torch.ops.onednn.qlinear_prepack(codes, None))
    zeros = torch.zeros(len(codes), dtype=torch.int32)
    out = _describe(to)

    def connect(x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1]).contiguous()
        found: Tensor = torch.ops.onednn.qlinear_pointwise(
            *(rows, grid.scale, grid.zero_point, packed, scale, zeros, bias, *out, "none", [], "")
        )
        return _finish(found.reshape(*x.shape[:-1], len(codes)), to)

    return connect


def _pack(codes: Tensor, scale: Tensor, grid: CodeGrid, places: _Places, groups: int) -> Tensor:
    key = (*map(tuple, places), groups, grid.zero_point == 0)  # whose numbers themselves come with the images
    pack = torch.ops.onednn.qconv_prepack
    return _remember(codes, key, lambda: pack(codes, scale, grid.scale, grid.zero_point, *places, groups, None))


def _remember(codes: Tensor, key: Hashable, pack: Callable[[], Tensor]) -> Tensor:
    """Return packed weights, for as long as somebody holds the codes that they are packed from."""
    known = _PACKED.setdefault(codes, {})
    if key not in known:
        known[key] = pack()
    return known[key]


def _identity(channels: int) -> tuple[Tensor, Tensor, None]:
    return torch.eye(channels, dtype=torch.int8).view(channels, channels, 1, 1), torch.ones(channels), None


def _agrees(found: Tensor, exact: Tensor, to: Target) -> bool:
    """Return whether codes are those of exact values, but next to halves."""
    real = exact / to.grid.scale
    clear = (real - real.floor() - 0.5).abs() > 1e-3
    expected = torch.round(real).add(to.grid.zero_point).clamp(to.low, to.high)
    return bool((found.double() == expected)[clear].all())


def _test_layer(layer: nn.Conv2d | nn.Linear, shape: tuple[int, ...]) -> bool:
    """Compare a layer of large codes on random and on extreme inputs, in values and in codes."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(-127, 128, layer.weight.shape, generator=generator)
    codes.view(len(codes), -1)[0] = 127
    scale = 0.5 ** torch.randint(4, 9, (len(codes),), generator=generator)
    layer.register_buffer("weight_codes", codes.to(torch.int8))
    layer.register_buffer("weight_scale", scale)
    layer.bias = nn.Parameter(torch.randn(len(codes), generator=generator) * 40, requires_grad=False)
    grid = CodeGrid(scale=0.03, zero_point=117)
    x = torch.randint(0, 256, shape, generator=generator)
    x[0] = 255
    real, weight = (
        (x.double() - grid.zero_point) * grid.scale,
        codes * scale.double().view(-1, *(1,) * (codes.ndim - 1)),
    )
    if isinstance(layer, nn.Linear):
        exact = F.linear(real, weight, layer.bias.double())
    else:
        exact = F.conv2d(
            *(real, weight, layer.bias.double(), layer.stride, layer.padding, layer.dilation, layer.groups)  # type: ignore[arg-type]
        )
    to = Target(grid=CodeGrid(scale=float(exact.std()) / 60, zero_point=100), low=0, high=250, packed=True)
    values = make_layer(layer, grid, None)(x.to(torch.uint8)).double()
    near = bool(((values - exact).abs() <= 1e-5 * exact.abs().max()).all())
    return near and _agrees(make_layer(layer, grid, to)(x.to(torch.uint8)), exact, to)


def _test_addition() -> bool:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randint(0, 256, (2, 3, 6, 5, 4), generator=generator).unbind()
    one, other = CodeGrid(scale=0.07, zero_point=90), CodeGrid(scale=0.05, zero_point=3)
    exact = (x.double() - one.zero_point) * one.scale
    total = exact + (y.double() - other.zero_point) * other.scale
    to = Target(grid=CodeGrid(scale=0.06, zero_point=20), low=20, high=200, packed=True)
    added = make_addition(one, other, to)(x.to(torch.uint8), y.to(torch.uint8))
    return _agrees(added, total, to) and _agrees(make_rounding(one, to)(x.to(torch.uint8)), exact, to)


_TESTS: dict[str, Callable[[], bool]] = {
    "convolutions": lambda: _test_layer(nn.Conv2d(19, 35, 3, 2, 1), (3, 19, 9, 8)),
    "first convolutions": lambda: _test_layer(nn.Conv2d(3, 16, 3, 1, 1), (2, 3, 16, 16)),
    "grouped convolutions": lambda: _test_layer(nn.Conv2d(12, 8, 3, 1, 2, 2, groups=2), (3, 12, 9, 8)),
    "depthwise convolutions": lambda: _test_layer(nn.Conv2d(21, 21, 3, 1, 1, groups=21), (3, 21, 9, 8)),
    "linear layers": lambda: _test_layer(nn.Linear(70, 11), (5, 70)),
    "additions": _test_addition,
}
"""What is compared by name."""

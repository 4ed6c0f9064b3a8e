"""Sums next to the border of two codes, which few operations in float32 can tell from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from explorer.compress.compiled import onednn
from explorer.compress.compiled.codes import CodeGrid, Target, make_layer

FILTERS, LARGEST = 48, 4000
INPUT = CodeGrid(scale=0.015897631645202637, zero_point=60)
WORKS = pytest.mark.skipif(bool(onednn.find_fault()), reason="oneDNN's integer operators cannot be used here")


def make_close(zero_point: int, share: float, seed: int, with_bias: bool) -> tuple[nn.Linear, Target]:
    """A layer of two inputs, 127 times the first and the second, each filter with a sum that many digits off a border.

    Filter f gives codes around zero for sums of some hundreds or thousands, the bias among them.
    """
    draw = np.random.default_rng(seed)
    layer = nn.Linear(2, FILTERS, bias=with_bias)
    to = Target(grid=CodeGrid(scale=0.0281 * (1 + seed / 7), zero_point=zero_point), low=0, high=255, packed=True)
    border = draw.integers(3, 24, FILTERS) + 0.5
    gain = border * (1 - share) / draw.integers(300, LARGEST, FILTERS)
    scale = torch.from_numpy(gain * to.grid.scale / INPUT.scale).float()
    layer.register_buffer("weight_codes", torch.tensor([[127, 1]], dtype=torch.int8).repeat(FILTERS, 1))
    layer.register_buffer("weight_scale", scale)
    if with_bias:
        counts = torch.from_numpy(draw.integers(-2000, 2000, FILTERS))
        layer.bias = nn.Parameter((counts * scale.double() * INPUT.scale).float(), requires_grad=False)
    return layer, to


def count_wrong(layer: nn.Linear, to: Target, integer: bool) -> int:
    """How many codes are not those of numbers with 64 digits, of all sums that the inputs can make."""
    x = torch.cartesian_prod(torch.arange(28, 93), torch.arange(0, 127))
    if integer:
        found = onednn.make_layer(layer, INPUT, to)(x.to(torch.uint8))
    else:
        found = make_layer(layer, INPUT.scale, to)((x - INPUT.zero_point).float())
    sums = (x.numpy() - INPUT.zero_point) @ np.array([127, 1])
    unit = layer.weight_scale.numpy().astype(np.longdouble) * np.longdouble(INPUT.scale)  # type: ignore[operator]
    counts = 0 if layer.bias is None else np.rint(layer.bias.detach().numpy().astype(np.longdouble) / unit)
    real = (sums[:, None] + counts) * unit / np.longdouble(to.grid.scale)
    expected = np.clip(np.rint(real) + to.grid.zero_point, to.low, to.high)
    return int((found.numpy() != expected).sum())


@pytest.mark.parametrize("integer", [False, pytest.param(True, marks=WORKS)])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("zero_point", [0, 60, 128, 155])
def test_sums_next_to_a_border_round_as_they_would_exactly(zero_point: int, with_bias: bool, integer: bool) -> None:
    """But for some filters in which other sums are as close, where the zero point is not near 0 or 128.

    A zero point of 155 added in float32 leaves no digit to tell 8.4999934 from 8.5 by.
    """
    for share in (8e-7, -8e-7):
        wrong = [count_wrong(*make_close(zero_point, share, seed, with_bias), integer) for seed in range(4)]
        assert sum(wrong) <= 4 * FILTERS / 8

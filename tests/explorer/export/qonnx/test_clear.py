"""Scales that are moved so that a Quant, which adds its zero point in float32, rounds sums as whole numbers do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from explorer.compress.quantize import ActivationQuantizer
from explorer.compress.weights import attach_codes, get_codes, quantize_biases
from explorer.export.qonnx.clear import MOVES, SHARE, clear_borders

FILTERS, ZERO_POINT = 32, 155
STEP, SOURCE = float(np.float32(0.0295)), float(np.float32(0.0159))
INPUTS = torch.cartesian_prod(torch.arange(45, 75), torch.arange(0, 127)) - 60


class Whole(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def make_close(scales: Tensor | None = None) -> fx.GraphModule:
    """127 times an input and another one, each filter with two sums that are 5e-6 of a step beyond a border."""
    draw = np.random.default_rng(0)
    border = draw.integers(3, 12, FILTERS) + 0.5
    gain = (border - 5e-6) / draw.integers(300, 1800, FILTERS)
    scales = torch.from_numpy(gain * STEP / SOURCE).float() if scales is None else scales
    layer = nn.Linear(2, FILTERS)
    layer.bias = nn.Parameter(torch.from_numpy(draw.integers(-500, 500, FILTERS)) * scales * SOURCE, False)
    attach_codes(layer, torch.tensor([[127, 1]]).repeat(FILTERS, 1), scales)
    model = nn.Sequential(
        ActivationQuantizer(8, SOURCE, 60), layer, nn.ReLU6(), ActivationQuantizer(8, STEP, ZERO_POINT)
    )
    traced = fx.GraphModule(model, Whole().trace(model))
    quantize_biases(traced)
    return traced


def count_wrong(model: fx.GraphModule) -> int:
    """Of sums within 15 steps of zero, how many a Quant rounds otherwise than numbers with 64 digits are rounded."""
    layer = model.get_submodule("1")
    codes, scale = (array.numpy() for array in get_codes(layer))
    sums = INPUTS.numpy() @ codes.T.astype(np.int64) + layer.get_buffer("bias_codes").numpy()
    unit = scale.astype(np.longdouble) * np.longdouble(SOURCE) / np.longdouble(STEP)
    exact = np.rint(sums * unit)
    with torch.no_grad():
        values = layer(INPUTS.float() * SOURCE).numpy()
    found = np.rint(values / np.float32(STEP) + np.float32(ZERO_POINT)) - ZERO_POINT
    return int((found != exact)[np.abs(exact) < 15].sum())


def test_a_quant_rounds_sums_next_to_a_border_as_whole_numbers_are_rounded() -> None:
    """But for some of filters with other borders as near."""
    model = make_close()
    before = {name: values.clone() for name, values in model.state_dict().items()}
    moved = clear_borders(model)
    assert count_wrong(model) > FILTERS
    assert count_wrong(moved) <= FILTERS / 4
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())
    (codes, scale), (own, its) = (get_codes(each.get_submodule("1")) for each in (moved, model))
    assert torch.equal(codes, own)
    assert float((scale / its - 1).abs().max()) <= 1.01 * SHARE * MOVES
    exact = its.double() * SOURCE / STEP
    sums = INPUTS.double() @ own.double().T + model.get_submodule("1").get_buffer("bias_codes")
    after = scale.double() * SOURCE / STEP
    near = (sums * exact).abs() < 15
    assert int((torch.round(sums * exact) != torch.round(sums * after))[near].sum()) <= FILTERS / 4


@pytest.mark.parametrize("exponent", [-9, -5])
def test_powers_of_two_stay(exponent: int) -> None:
    model = make_close(torch.full((FILTERS,), 2.0**exponent))
    assert torch.equal(get_codes(clear_borders(model).get_submodule("1"))[1], get_codes(model.get_submodule("1"))[1])

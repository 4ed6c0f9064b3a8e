"""Quantisers: scales near the optimum, symmetric codes, ONNX semantics, an exact zero."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from torch import Tensor

from explorer.compress.quantize import (
    EXACT_BITS,
    SMALLEST_SCALE,
    ActivationQuantizer,
    code_limit,
    find_activation_range,
    find_percentile_range,
    find_power_of_two_range,
    find_power_of_two_scales,
    find_weight_scales,
    quantize_weight,
    raise_to_power_of_two,
    round_to_power_of_two,
)

WIDTHS = range(2, 9)


def rows(seed: int = 0) -> Tensor:
    """Channels that are normal, uniform, heavy-tailed, with one outlier, sparse, and tiny."""
    g = torch.Generator().manual_seed(seed)
    normal = torch.randn(144, generator=g)
    outlier = torch.cat((0.1 * torch.randn(143, generator=g), torch.tensor([2.0])))
    sparse = torch.randn(144, generator=g) * (torch.rand(144, generator=g) < 0.1)
    heavy = torch.randn(144, generator=g) ** 3
    return torch.stack((normal, torch.rand(144, generator=g) - 0.5, heavy, outlier, sparse, 1e-6 * normal))


def errors(weight: Tensor, scale: Tensor, bits: int) -> Tensor:
    return (quantize_weight(weight, scale, bits) * scale[:, None] - weight).double().square().sum(1)


@pytest.mark.parametrize("bits", WIDTHS)
def test_a_scale_is_never_worse_than_that_of_the_maximum_and_near_the_optimum(bits: int) -> None:
    weight = rows()
    peak = weight.abs().amax(1) / code_limit(bits)
    found = errors(weight, find_weight_scales(weight, bits), bits)
    assert (found <= errors(weight, peak, bits) * (1 + 1e-5)).all()
    grid = torch.linspace(0.02, 1.2, 4000)
    best = torch.stack([errors(weight, peak * fraction, bits) for fraction in grid]).amin(0)
    assert (found <= best * (1 + 1e-5 if bits <= EXACT_BITS else 1.35)).all()


@pytest.mark.parametrize("bits", WIDTHS)
def test_codes_are_symmetric_integers_in_range(bits: int) -> None:
    weight = rows()
    scale = find_weight_scales(weight, bits)
    codes = quantize_weight(weight, scale, bits)
    assert torch.equal(codes, codes.round())
    assert codes.abs().max() == code_limit(bits) == 2 ** (bits - 1) - 1
    assert torch.equal(find_weight_scales(-weight, bits), scale)
    assert torch.equal(quantize_weight(-weight, scale, bits), -codes)
    assert (codes[weight == 0] == 0).all()


def test_the_scale_of_a_channel_does_not_depend_on_the_others_and_follows_its_size() -> None:
    weight = rows()
    scale = find_weight_scales(weight, 4)
    assert torch.allclose(find_weight_scales(weight[2:3], 4), scale[2:3], rtol=1e-6)
    assert torch.allclose(find_weight_scales(weight * 8, 4), scale * 8, rtol=1e-6)
    kernel = weight.view(6, 16, 3, 3)
    assert torch.equal(find_weight_scales(kernel, 4), scale)
    assert quantize_weight(kernel, scale, 4).shape == kernel.shape


def test_eight_bits_are_close_to_float_and_fewer_bits_farther() -> None:
    weight = rows()[:2]
    relative = [
        (errors(weight, find_weight_scales(weight, bits), bits) / weight.square().sum(1)).sqrt().max()
        for bits in WIDTHS
    ]
    assert relative[-1] < 0.01
    assert relative == sorted(relative, reverse=True)


def test_a_channel_of_zeros_has_scale_one() -> None:
    weight = torch.zeros(2, 9)
    weight[1] = 0.5
    scale = find_weight_scales(weight, 2)
    assert scale[0] == 1.0
    assert scale[1] == pytest.approx(0.5)
    assert (quantize_weight(weight, scale, 2)[0] == 0).all()


@settings(max_examples=20)
@given(st.integers(2, EXACT_BITS), st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=12))
def test_no_scale_is_better_than_the_exact_one(bits: int, values: list[float]) -> None:
    weight = torch.tensor([values])
    peak = float(weight.abs().max())
    own = errors(weight, find_weight_scales(weight, bits), bits)
    for fraction in torch.linspace(0.01, 2.2, 800).tolist():
        tried = max(peak * fraction / code_limit(bits), 1e-30)
        assert own <= errors(weight, torch.tensor([tried]), bits) + 1e-6 * peak**2


def test_one_bit_is_the_sign_times_the_mean_magnitude() -> None:
    weight = torch.tensor([[0.5, -1.0, 0.0, 1.5], [0.0, 0.0, 0.0, 0.0]])
    scale = find_weight_scales(weight, 1)
    assert scale.tolist() == [0.75, pytest.approx(SMALLEST_SCALE)]
    assert quantize_weight(weight, scale, 1).tolist() == [[1.0, -1.0, 1.0, 1.0], [1.0] * 4]
    for other in (0.5, 0.7, 0.8, 1.0):
        assert errors(weight[:1], scale[:1], 1) <= errors(weight[:1], torch.tensor([other]), 1)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_per_tensor_is_one_scale_the_best_for_all(bits: int) -> None:
    weight = rows()[:3]
    scale = find_weight_scales(weight, bits, "tensor")
    assert scale.shape == (3,)
    assert len(set(scale.tolist())) == 1
    assert scale[0] == find_weight_scales(weight.reshape(1, -1), bits)[0]
    apart, together = (
        errors(weight, find_weight_scales(weight, bits, per), bits).sum() for per in ("channel", "tensor")
    )
    assert apart < together


@pytest.mark.parametrize("percentile", [90.0, 99.0, 99.9])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 3.0), (-2.0, 0.0)])
def test_a_percentile_range_clips_the_stated_share(percentile: float, low: float, high: float) -> None:
    values = torch.linspace(low, high, 20001)[torch.randperm(20001, generator=torch.Generator().manual_seed(0))]
    for bits in (4, 8):
        scale, zero_point = find_percentile_range(values, bits, percentile)
        ends = (-zero_point * scale, (2**bits - 1 - zero_point) * scale)
        outside = float(((values < ends[0] - scale / 2) | (values > ends[1] + scale / 2)).float().mean())
        step = scale / (high - low)
        assert abs(outside - (1 - percentile / 100)) <= 1.5 * step


def test_a_percentile_range_keeps_outliers_out_and_everything_at_100() -> None:
    values = torch.cat((torch.linspace(0, 1, 9999), torch.tensor([100.0])))
    assert find_percentile_range(values, 8, 99.9)[0] == pytest.approx(1 / 255, rel=1e-2)
    assert find_percentile_range(values, 8, 100.0)[0] == pytest.approx(100 / 255)
    assert find_percentile_range(torch.zeros(10), 8, 99.0) == (1.0, 0)
    with pytest.raises(ValueError, match="finite"):
        find_percentile_range(torch.tensor([float("nan")]), 8, 99.0)


def test_the_quantiser_is_that_of_onnx() -> None:
    """QuantizeLinear and DequantizeLinear on uint8: halves to even, saturation on both sides."""
    scale, zero_point = 0.25, 10
    node_in = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"])
    node_out = helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"])
    constants = [
        helper.make_tensor("s", TensorProto.FLOAT, [], [scale]),
        helper.make_tensor("z", TensorProto.UINT8, [], [zero_point]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in "xy"]
    graph = helper.make_graph([node_in, node_out], "qdq", values[:1], values[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.concatenate((np.arange(-40, 300) * scale / 2, np.random.default_rng(0).normal(0, 20, 5000)))
    x = x.astype(np.float32)
    (expected,) = session.run(None, {"x": x})
    received = ActivationQuantizer(8, scale, zero_point)(torch.from_numpy(x)).numpy()
    assert np.array_equal(received, expected)


@pytest.mark.parametrize("bits", WIDTHS)
def test_halves_go_to_even_and_the_range_saturates(bits: int) -> None:
    quantizer, top = ActivationQuantizer(bits, 0.5, 1), 2**bits - 1
    x = torch.tensor([0.25, 0.75, -0.25, -999.0, 999.0, 0.0])
    assert quantizer(x).tolist() == [0.0, 1.0, 0.0, -0.5, (top - 1) * 0.5, 0.0]


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize(("low", "high"), [(0.0, 6.0), (-1.0, 3.0), (-5.0, -1.0), (2.0, 3.0), (-1e-5, 1e5)])
def test_a_range_holds_zero_exactly(bits: int, low: float, high: float) -> None:
    values = torch.rand(4000, generator=torch.Generator().manual_seed(bits)) * (high - low) + low
    scale, zero_point = find_activation_range(values, bits)
    assert 0 <= zero_point <= 2**bits - 1
    quantizer = ActivationQuantizer(bits, scale, zero_point)
    assert quantizer(torch.zeros(3)).tolist() == [0.0] * 3
    again = quantizer(quantizer(values))
    assert torch.allclose(again, quantizer(values), rtol=1e-6)


@pytest.mark.parametrize("bits", WIDTHS)
def test_a_range_clips_outliers_and_is_no_worse_than_the_whole_range(bits: int) -> None:
    values = torch.randn(20_000, generator=torch.Generator().manual_seed(1)).relu()
    values[0] = 40.0

    def error(scale: float, zero_point: int) -> float:
        return float((ActivationQuantizer(bits, scale, zero_point)(values) - values).square().mean())

    scale, zero_point = find_activation_range(values, bits)
    assert error(scale, zero_point) <= error(40.0 / (2**bits - 1), 0) * (1 + 1e-6)
    assert bits > 4 or scale * (2**bits - 1) < 20.0


def test_a_range_of_zeros_is_harmless() -> None:
    assert find_activation_range(torch.zeros(5), 4) == (1.0, 0)


def test_powers_of_two_are_the_nearest_as_a_ratio_and_the_next() -> None:
    values = torch.logspace(-30, 30, 997, dtype=torch.float64)
    exponents = values.log2()
    assert torch.equal(round_to_power_of_two(values), 2.0 ** exponents.round())
    assert torch.equal(raise_to_power_of_two(values), 2.0 ** exponents.ceil())
    exact = 2.0 ** torch.arange(-100.0, 100)
    assert torch.equal(round_to_power_of_two(exact), exact)
    assert torch.equal(raise_to_power_of_two(exact), exact)
    for rounded in (round_to_power_of_two, raise_to_power_of_two):
        assert torch.equal(rounded(torch.zeros(3)), torch.zeros(3))


@pytest.mark.parametrize("per", ["channel", "tensor"])
@pytest.mark.parametrize("bits", range(1, 9))
def test_scales_are_powers_of_two_behind_a_batch_norm_and_near_the_best(bits: int, per: str) -> None:
    weight = rows()
    gain = torch.tensor([1.0, -3.0, 0.3, 1e-3, 0.0, 7.0])
    scale = find_power_of_two_scales(weight, bits, per, gain)
    folded = torch.where(gain == 0, 1.0, gain.abs())
    exponents = (scale * folded).double().log2()
    assert torch.allclose(exponents, exponents.round(), atol=1e-5)
    assert per == "channel" or exponents.round().max() == exponents.round().min()
    tried = torch.arange(-40.0, 10)
    found = [errors(weight * folded[:, None], torch.full((6,), 2.0**power), bits) for power in tried]
    best = torch.stack(found).amin(0) if per == "channel" else min(found, key=torch.sum).sum()
    received = errors(weight * folded[:, None], scale * folded, bits)
    assert ((received if per == "channel" else received.sum()) <= best * 1.05).all()


@pytest.mark.parametrize("bits", range(1, 9))
def test_ranges_of_powers_of_two_have_their_zero_at_an_end_or_in_the_middle(bits: int) -> None:
    g = torch.Generator().manual_seed(0)
    for values, zero_point in ((torch.randn(4096, generator=g), 2 ** (bits - 1)), (torch.rand(4096, generator=g), 0)):
        scale, zero = find_power_of_two_range(values, bits)
        assert zero == zero_point
        assert np.frexp(scale)[0] == 0.5
        own = (ActivationQuantizer(bits, scale, zero)(values) - values).square().mean()
        for power in range(-12, 4):
            other = ActivationQuantizer(bits, 2.0**power, zero)(values)
            assert own <= (other - values).square().mean() * 1.0001
    assert find_power_of_two_range(torch.zeros(9), bits) == (1.0, 0)

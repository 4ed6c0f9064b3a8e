"""Adaptive rounding: lower errors of the output, on other inputs too, with admissible codes only."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from explorer.compress.moments import Moments, compute_moments
from explorer.compress.quantize import code_limit, find_nearest_codes, find_weight_scales, quantize_weight
from explorer.compress.rounding import compute_feedback_share, compute_output_errors, find_adaptive_codes
from explorer.graph.unfold import unfold_inputs

LAYERS: dict[str, Callable[[], nn.Conv2d | nn.Linear]] = {
    "linear": lambda: nn.Linear(24, 10),
    "convolution": lambda: nn.Conv2d(8, 12, 3, stride=2, padding=1),
    "grouped": lambda: nn.Conv2d(8, 12, (3, 1), groups=4, dilation=2, padding="same", bias=False),
    "depthwise": lambda: nn.Conv2d(8, 16, 3, groups=8, padding=1, padding_mode="reflect"),
}


def layer(name: str) -> nn.Conv2d | nn.Linear:
    torch.manual_seed(3)
    return LAYERS[name]()


def inputs(module: nn.Module, seed: int, count: int = 96) -> Tensor:
    """Correlated and not negative, as behind a ReLU: mixtures of a few smooth patterns, with a little noise."""
    mixing = torch.randn(5, 24 if isinstance(module, nn.Linear) else 8, generator=torch.Generator().manual_seed(0))
    drawn = torch.Generator().manual_seed(seed)
    if isinstance(module, nn.Linear):
        return F.relu(torch.randn(4 * count, 5, generator=drawn) @ mixing + 0.2 * torch.randn(24, generator=drawn))
    patterns = F.avg_pool2d(torch.randn(count, 5, 12, 12, generator=drawn), 3, 1)
    return F.relu(torch.einsum("npij,pc->ncij", 3 * patterns, mixing))


def output_error(module: nn.Module, weight: Tensor, x: Tensor) -> float:
    """Mean squared change of the output, its mean shift taken out."""
    with torch.no_grad():
        difference = module(x)
        own, module.weight.data = module.weight.data, weight
        difference = difference - module(x)
        module.weight.data = own
    flat = difference if difference.ndim == 2 else difference.transpose(0, 1).flatten(1).T
    return float((flat - flat.mean(0)).square().mean())


def rounded(module: nn.Conv2d | nn.Linear, bits: int, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    weight = module.weight.data if mask is None else module.weight.data * mask
    given = compute_moments(module, x, x, centred=True)
    return find_adaptive_codes(
        module.weight.data, given, find_weight_scales(weight, bits), partial(find_nearest_codes, bits=bits), mask
    )


def expanded(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.view(-1, *(1,) * (weight.ndim - 1))


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("name", LAYERS)
def test_the_output_is_closer_than_after_nearest_rounding_on_other_inputs_too(name: str, bits: int) -> None:
    module = layer(name)
    weight, scale = module.weight.data, find_weight_scales(module.weight.data, bits)
    nearest = quantize_weight(weight, scale, bits) * expanded(scale, weight)
    codes, scales = rounded(module, bits, inputs(module, seed=1))
    adaptive = codes * expanded(scales, weight)
    for seed, most in ((1, 0.95), (2, 0.97)):
        x = inputs(module, seed)
        assert output_error(module, adaptive, x) < most * output_error(module, nearest, x)
    assert torch.equal(codes, codes.round())
    assert codes.abs().max() <= code_limit(bits)
    assert (scales > 0).all()
    if bits == 1:
        assert (codes != 0).all()


@pytest.mark.parametrize("name", LAYERS)
def test_columns_times_weights_are_the_outputs(name: str) -> None:
    module = layer(name)
    x = inputs(module, seed=1, count=3)
    read = unfold_inputs(module, x)
    outputs = (module.weight.data.reshape(read.shape[0], -1, read.shape[1]) @ read).flatten(0, 1)
    if module.bias is not None:
        module.bias.data.zero_()
    with torch.no_grad():
        own = module(x)
    assert torch.allclose(outputs, own.movedim(1, 0).flatten(1), atol=1e-5)


def test_errors_are_those_of_the_output() -> None:
    """Up to the damping, the estimated error is what the layer's output changes by."""
    module = layer("convolution")
    x = inputs(module, seed=1)
    scale = find_weight_scales(module.weight.data, 3)
    codes = quantize_weight(module.weight.data, scale, 3)
    estimated = compute_output_errors(
        module.weight.data, codes, scale, compute_moments(module, x, x, centred=True)
    ).mean()
    measured = output_error(module, codes * expanded(scale, codes), x)
    assert measured <= float(estimated) <= 1.5 * measured


@settings(max_examples=40)
@given(st.integers(1, 8), st.integers(0, 1000), st.sampled_from(["linear", "grouped"]))
def test_no_filter_is_worse_off(bits: int, seed: int, name: str) -> None:
    module = layer(name)
    module.weight.data = torch.randn(module.weight.shape, generator=torch.Generator().manual_seed(seed))
    module.weight.data[seed % len(module.weight)] = 0
    x = inputs(module, seed, count=4)
    given = compute_moments(module, x, x, centred=True)
    scale = find_weight_scales(module.weight.data, bits)
    nearest = quantize_weight(module.weight.data, scale, bits)
    before = compute_output_errors(module.weight.data, nearest, scale, given)
    after = compute_output_errors(module.weight.data, *rounded(module, bits, x), given)
    assert (after <= before * (1 + 1e-6) + 1e-12).all()


def test_pruned_weights_stay_zero_and_the_others_make_good_for_them() -> None:
    module = layer("convolution")
    x = inputs(module, seed=1)
    mask = module.weight.data.abs() > module.weight.data.abs().median()
    scale = find_weight_scales(module.weight.data * mask, 4)
    codes, scales = rounded(module, 4, x, mask)
    assert (codes[~mask] == 0).all()
    nearest = quantize_weight(module.weight.data * mask, scale, 4) * expanded(scale, codes)
    other = inputs(module, seed=2)
    assert output_error(module, codes * expanded(scales, codes), other) < 0.5 * output_error(module, nearest, other)


def test_changed_inputs_are_made_good_for() -> None:
    """A layer that reads 0.8 of the float input can scale its weights up; nearest rounding cannot know."""
    module = layer("linear")
    x = inputs(module, seed=1)
    given = compute_moments(module, 0.8 * x, x, centred=False)
    scale = find_weight_scales(module.weight.data, 8)
    codes, scales = find_adaptive_codes(module.weight.data, given, scale, partial(find_nearest_codes, bits=8))
    own, wanted = (codes * scales[:, None]) @ (0.8 * x).T, module.weight.data @ x.T
    assert (own - wanted).square().mean() < 0.02 * (0.8 * wanted - wanted).square().mean()


def test_scales_stay_as_they_are_given_where_they_are_fixed() -> None:
    """A step that the whole layer has is no matter of one filter; errors are fed back all the same."""
    module = layer("convolution")
    x = inputs(module, seed=1)
    given, step = compute_moments(module, x, x, centred=True), torch.full((12,), 0.05)
    project = partial(find_nearest_codes, bits=8)
    codes, scales = find_adaptive_codes(module.weight.data, given, step, project, fit="none")
    assert torch.equal(scales, step)
    nearest = quantize_weight(module.weight.data, step, 8)
    other = inputs(module, seed=2)
    assert output_error(module, codes * 0.05, other) < 0.6 * output_error(module, nearest * 0.05, other)


@pytest.mark.parametrize("name", ["convolution", "grouped", "linear"])
def test_feedback_leaves_the_share_of_the_error_that_is_said(name: str) -> None:
    """At fine steps; choosing codes anew behind the feedback takes a little more off."""
    module = layer(name)
    x = inputs(module, seed=5)
    given = compute_moments(module, x, x, centred=True)
    weight = module.weight.detach()
    scale = torch.full((len(weight),), float(weight.abs().max()) / 100)
    nearest = torch.round(weight / expanded(scale, weight))
    codes, _ = find_adaptive_codes(weight, given, scale, partial(find_nearest_codes, bits=8), fit="none")
    errors = [float(compute_output_errors(weight, each, scale, given).mean()) for each in (codes, nearest)]
    share = compute_feedback_share(given)
    assert 0 < share <= 1
    assert errors[0] / errors[1] == pytest.approx(share, rel=0.35)


def test_inputs_that_are_all_zero_change_nothing() -> None:
    module = layer("linear")
    dead = Moments(received=torch.zeros(1, 24, 24).double(), wanted=torch.zeros(1, 24, 24).double())
    scale = find_weight_scales(module.weight.data, 4)
    codes, scales = find_adaptive_codes(module.weight.data, dead, scale, partial(find_nearest_codes, bits=4))
    assert (codes * scales[:, None] - module.weight.data).abs().max() <= scale.max()


DEGENERATE: dict[str, Callable[[Tensor], Tensor]] = {
    "zero": torch.zeros_like,
    "one constant": lambda x: torch.full_like(x, 0.7),
    "a constant for each channel": lambda x: x[:1, :, :1, :1].expand_as(x) if x.ndim == 4 else x[:1].expand_as(x),
    "hardly more than constants": lambda x: 3 + 1e-6 * x,
    "twice the same channels": lambda x: torch.cat((x[:, : x.shape[1] // 2],) * 2, 1),
    "one channel beside zeros": lambda x: x * (torch.arange(x.shape[1]) == 1).view(-1, *(1,) * (x.ndim - 2)),
    "tiny": lambda x: 1e-30 * x,
    "huge": lambda x: 1e30 * x,
    "one channel a billion times the others": lambda x: torch.cat((1e9 * x[:, :1], x[:, 1:]), 1),
    "one image": lambda x: x[:1],
}


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(kind, torch.float32) for kind in DEGENERATE]
    + [("a constant for each channel", dtype) for dtype in (torch.float64, torch.bfloat16, torch.float16)],
)
@pytest.mark.parametrize("name", ["linear", "grouped", "depthwise"])
def test_inputs_without_variance_of_any_size_are_rounded_for(name: str, kind: str, dtype: torch.dtype) -> None:
    """Low activation bits and gates give inputs that are constant, of which the moments are hardly positive."""
    module = layer(name).to(dtype)
    wanted = inputs(module, seed=1, count=64).to(dtype)
    received, scale = DEGENERATE[kind](wanted), find_weight_scales(module.weight.data, 4)
    nearest = quantize_weight(module.weight.data, scale, 4)
    for centred in (False, True):
        for read in (received, DEGENERATE[kind](1.1 * wanted)):
            given = compute_moments(module, received, read, centred=centred)
            codes, scales = find_adaptive_codes(module.weight.data, given, scale, partial(find_nearest_codes, bits=4))
            assert torch.equal(codes, find_nearest_codes(codes, bits=4))
            assert (scales > 0).all()
            before, after = (
                compute_output_errors(module.weight.data, *c, given) for c in ((nearest, scale), (codes, scales))
            )
            assert (after <= before * (1 + (1e-6 if dtype.itemsize > 2 else 0.1)) + 1e-12).all()

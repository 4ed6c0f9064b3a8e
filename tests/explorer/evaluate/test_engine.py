"""Networks compiled for scoring: when they are, and what happens where integers cannot hold a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import uniform
from explorer.compress.compiled import codes, compiler, onednn
from explorer.errors import NumericalError
from explorer.evaluate.engine import Runner, compile_network, is_compressed, name_engine
from explorer.evaluate.score import score_images
from explorer.graph.modules import layer_module

LABELS = torch.arange(40) % 5
WORKS = pytest.mark.skipif(bool(onednn.find_fault()), reason="oneDNN's integer operators cannot be used here")


@pytest.fixture
def small(context: Callable[[str], CompressionContext]) -> fx.GraphModule:
    base = context("option_a")
    return apply(base, uniform(base.graph, 4, 6))


@pytest.fixture
def pixels(images: Callable[[str, int], Tensor]) -> Tensor:
    return images("option_a", 40)


def outputs(model: nn.Module, images: Tensor, batch_size: int = 16) -> Tensor:
    with torch.inference_mode():
        return torch.cat([output for output, _ in Runner(model, batch_size)(images)])


def test_parts_are_counted(small: fx.GraphModule, pixels: Tensor) -> None:
    with torch.inference_mode():
        assert [(len(output), count) for output, count in Runner(small, 16)(pixels)] == [
            (16, 16),
            (16, 16),
            (8, 8),
        ]


def test_a_watched_network_is_run_as_it_is(small: fx.GraphModule, pixels: Tensor) -> None:
    """Hooks of the user's are called, the float network has no codes."""
    seen: list[int] = []
    small.get_submodule("conv").register_forward_hook(lambda module, given, output: seen.append(len(output)))
    assert not is_compressed(small)
    outputs(small, pixels, 32)
    assert seen == [32, 8]
    assert not is_compressed(nn.Linear(2, 2))


def test_weights_that_are_not_their_codes_any_more_count(small: fx.GraphModule, pixels: Tensor) -> None:
    before = outputs(small, pixels)
    layer_module(small, "fc").weight.data.mul_(3.0)
    bias = layer_module(small, "fc").bias
    assert bias is not None
    assert torch.allclose(outputs(small, pixels) - bias, 3 * (before - bias), rtol=1e-4, atol=1e-4)


def test_parts_too_large_for_the_caches_are_split(small: fx.GraphModule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "CACHED_BYTES", 4 * 8 * 8 * 20)  # 20 images of the largest activation, in codes
    assert compile_network(small, 256, integer=True).images_at_once == 20
    assert compile_network(small, 256, integer=False).images_at_once == compiler.FEWEST_IMAGES
    assert compile_network(small, 7, integer=True).images_at_once == 7


@WORKS
def test_a_scale_that_overflows_is_seen(small: fx.GraphModule, pixels: Tensor) -> None:
    """In codes it would be clipped, so that such a layer is computed in float numbers."""
    layer = layer_module(small, "fc")
    layer.weight_scale.fill_(3e38)  # type: ignore[operator]
    layer.weight.data = layer.get_buffer("weight_codes").float() * 3e38
    assert not onednn.can_compute(layer)
    with pytest.raises(NumericalError, match="not finite"):
        score_images(small, pixels, LABELS, 16, finite=True)


@WORKS
def test_nan_is_not_turned_into_a_code(small: fx.GraphModule, pixels: Tensor) -> None:
    """One image's logits are NaN, as those of the simulated network, and the others' are as they were."""
    expected = outputs(small, pixels)
    pixels[3, 1, 2, 2] = torch.nan
    found = outputs(small, pixels)
    assert found[3].isnan().all()
    others = torch.arange(40) != 3
    assert torch.allclose(found[others], expected[others], rtol=1e-3, atol=1e-3)


def test_operators_that_fail_are_not_used(
    small: fx.GraphModule, pixels: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = score_images(small, pixels, LABELS, 16)

    def absent(*given: Any) -> Any:
        raise AttributeError("'_OpNamespace' 'onednn' object has no attribute 'qconv_prepack'")

    monkeypatch.setattr(onednn, "_pack", absent)
    onednn.find_fault.cache_clear()
    try:
        assert "no attribute 'qconv_prepack'" in onednn.find_fault()
        assert name_engine(torch.device("cpu")).startswith(
            "float, as oneDNN's integer operators cannot be used here: Att"
        )
        assert np.mean(score_images(small, pixels, LABELS, 16) == expected) >= 0.95
    finally:
        onednn.find_fault.cache_clear()


@WORKS
def test_trying_the_operators_leaves_random_numbers_alone() -> None:
    state = torch.get_rng_state()
    onednn.find_fault.__wrapped__()
    assert torch.equal(torch.get_rng_state(), state)


@WORKS
def test_operators_that_saturate_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As sums of two products are clipped to 16 bits by processors without VNNI."""
    real = onednn.make_layer

    def saturating(*given: Any) -> codes.Unary:
        compute = real(*given)
        return lambda x: compute(x.clamp(max=200))

    monkeypatch.setattr(onednn, "make_layer", saturating)
    onednn.find_fault.cache_clear()
    try:
        assert onednn.find_fault().startswith("wrong numbers of convolutions, first convolutions")
    finally:
        onednn.find_fault.cache_clear()


def test_engines_have_names() -> None:
    assert name_engine(torch.device("cuda")) == "float, on cuda"
    assert name_engine(torch.device("cpu")).split(",")[0] in {"integer", "float"}

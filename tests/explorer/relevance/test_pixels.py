"""Which pixels a filter's relevance comes from: complete, equal to DeepLIFT where it must be, and by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.errors import RelevanceError
from explorer.relevance.deeplift import attribute
from explorer.relevance.multipliers import sum_per_channel
from explorer.relevance.pixels import Filter, compute_pixel_contributions
from explorer.relevance.sample import IMAGES_AT_ONCE, Sample, make_sample
from tests.support.attribution import (
    Body,
    canonical,
    functional,
    pooled,
    product,
    residual,
    residual_into_input,
    smooth,
)


def gelu(m: Any, x: Tensor) -> Any:
    return m.fc(F.avg_pool2d(F.gelu(m.conv2(F.silu(m.conv1(x)))), 2).flatten(1))


def sequence(m: Any, x: Tensor) -> Any:
    """A linear layer that has positions before its features."""
    x = F.relu(m.conv1(x)).flatten(2).transpose(1, 2)
    x = F.relu(m.mix(x)).transpose(1, 2).reshape(-1, 4, 6, 6)
    return m.fc(F.avg_pool2d(F.relu(m.conv2(x)), 2).flatten(1))


def of(body: Body, reference: str = "shuffled", **layers: nn.Module) -> Sample:
    model, graph, images, labels = canonical(body, **layers)
    return make_sample(model, graph, images, labels, target="true", reference=reference)


def maps_of(sample: Sample, filters: Sequence[Filter]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The maps of a network's only input, in all and through each filter."""
    (whole,), maps = compute_pixel_contributions(sample, filters)
    return whole, tuple(each for (each,) in maps)


@pytest.mark.parametrize("reference", ["shuffled", "zero"])
@pytest.mark.parametrize("body", [functional, residual, residual_into_input, pooled, smooth, product, gelu, sequence])
def test_pixels_add_up_to_what_a_filter_contributes(body: Body, reference: str) -> None:
    sample = of(body, reference, mix=nn.Linear(4, 4))
    filters = [(layer.name, index) for layer in sample.graph.layers for index in range(layer.out_channels)]
    whole, maps = maps_of(sample, filters)
    found = attribute(sample)
    assert torch.allclose(whole, found.contributions[0], rtol=1e-12, atol=1e-14)
    assert any(bool(each.abs().sum() > 1e-3) for each in maps)
    for (name, index), each in zip(filters, maps, strict=True):
        assert each.shape == sample.inputs[0].shape
        contributions = found.multipliers[name] * found.differences[name]
        expected = sum_per_channel(sample.model.get_submodule(name), contributions)[:, index]
        assert torch.allclose(each.sum((1, 2, 3)), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("body", [functional, pooled, gelu])
def test_filters_of_one_layer_share_what_goes_through_it(body: Body) -> None:
    """Where a layer is the only way to the output, its filters' maps add up to that of the whole network."""
    sample = of(body)
    for name in ("conv1", "conv2"):
        whole, maps = maps_of(sample, [(name, index) for index in range(4)])
        assert torch.allclose(torch.stack(maps).sum(0), whole, rtol=1e-10, atol=1e-12)


def test_the_first_layer_by_hand() -> None:
    """A filter of the first layer sees its own window of pixels, through its own weights."""
    sample = of(residual)
    multipliers = attribute(sample).multipliers["conv1"][:, 2:3]
    weight = sample.model.get_submodule("conv1").get_parameter("weight").detach()[2:3]
    expected = F.conv_transpose2d(multipliers, weight, padding=1) * (sample.inputs[0] - sample.references[0])
    assert torch.allclose(maps_of(sample, [("conv1", 2)])[1][0], expected, rtol=1e-10, atol=1e-12)


def test_a_filter_that_only_another_class_needs_has_no_pixels() -> None:
    sample = of(functional)
    (third,) = maps_of(sample, [("fc", 2)])[1]
    assert [bool(each.any()) for each in third] == [label == 2 for label in sample.targets.tolist()]


def test_chosen_images_keep_their_references() -> None:
    sample = of(pooled)
    whole, (each,) = maps_of(sample, [("conv2", 1)])
    some, (one,) = maps_of(sample.take([4, 0]), [("conv2", 1)])
    assert torch.allclose(some, whole[[4, 0]], rtol=1e-10)
    assert torch.allclose(one, each[[4, 0]], rtol=1e-10)


def test_parts_of_a_sample_are_one_sample() -> None:
    sample = of(pooled)
    many = sample.take(list(range(len(sample))) * (IMAGES_AT_ONCE // len(sample) + 2))
    whole, (each,) = maps_of(many, [("conv1", 3)])
    assert len(each) == len(many) > IMAGES_AT_ONCE
    assert torch.allclose(each[-len(sample) :], maps_of(sample, [("conv1", 3)])[1][0], rtol=1e-10)
    assert whole.shape == many.inputs[0].shape


def test_what_is_not_there_is_refused() -> None:
    sample = of(functional)
    with pytest.raises(RelevanceError, match=r"filter pool:0: no layer is called 'pool'; known are conv1, conv2, fc"):
        compute_pixel_contributions(sample, [("pool", 0)])
    with pytest.raises(RelevanceError, match=r"filter fc:3: expected an index in 0\.\.2, received 3"):
        compute_pixel_contributions(sample, [("fc", 3)])
    with pytest.raises(RelevanceError, match=r"filter fc:-1: expected an index in 0\.\.2"):
        compute_pixel_contributions(sample, [("fc", -1)])


def test_maps_that_do_not_add_up_are_refused() -> None:
    class Cumulated(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cumprod(x, 1)

    def body(m: Any, x: Tensor) -> Any:
        return m.fc(F.avg_pool2d(m.own(F.relu(m.conv1(x))), 2).flatten(1))

    sample = of(body, own=Cumulated())
    with pytest.raises(RelevanceError, match="not complete on this network"):
        compute_pixel_contributions(sample, [("conv1", 0)])
    assert len(compute_pixel_contributions(replace(sample, tolerance=100.0), [("conv1", 0)])[1]) == 1

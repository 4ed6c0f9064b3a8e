"""Measured divergences: those of the network with one choice alone, and seeds from them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import LayerChoice
from explorer.compress.quantize import find_weight_scales, quantize_weight
from explorer.evaluate.hardware import cost
from explorer.search.measured import measure_sensitivity
from explorer.search.options import one_by_one
from explorer.search.seeds import choose_seeds
from explorer.search.space import make_search_space
from explorer.settings import QuantizerSettings, SpaceSettings
from hwmodels import load
from tests.oracles.mask import mask_filters

SETTINGS = SpaceSettings(
    weight_bits=(2, 8), activation_bits=(2, 8), filter_keep_ratio=(0.5, 1.0), codebook_sizes=(None, 4)
)


def divergence(expected: Tensor, found: Tensor) -> float:
    p, q = F.softmax(expected.detach().double(), 1), F.softmax(found.detach().double(), 1)
    return float((p * (p.log() - q.log())).sum(1).mean())


def test_each_value_is_the_divergence_of_the_network_with_it_alone(
    context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor]
) -> None:
    base, x = context("lenet5_digits"), images("lenet5_digits", 8)
    before = {key: tensor.clone() for key, tensor in base.model.state_dict().items()}
    steps: list[tuple[int, int]] = []
    space = make_search_space(base.graph, SETTINGS)
    table = measure_sensitivity(base, space, x, lambda *step: steps.append(step))
    assert steps == [(i + 1, 9) for i in range(9)]
    assert all(torch.equal(tensor, before[key]) for key, tensor in base.model.state_dict().items())

    layer, expected = "conv2", base.model(x)
    module = base.model.get_submodule(layer)
    weight = module.get_parameter("weight")
    scale = find_weight_scales(weight.data, 2)
    means = []
    handle = module.register_forward_hook(lambda _, __, output: means.append(output.mean((0, 2, 3))))
    base.model(x)
    handle.remove()
    copied = copy.deepcopy(base.model)
    rounded = copied.get_submodule(layer)
    rounded.get_parameter("weight").data = quantize_weight(weight.data, scale, 2) * scale[:, None, None, None]
    rounded.register_forward_hook(lambda _, __, o: o + (means[0] - o.mean((0, 2, 3)))[:, None, None])
    found = divergence(expected, copied(x))
    assert table.weights[layer][LayerChoice(layer=layer, weight_bits=2)] == pytest.approx(found, rel=1e-4)

    quantizer = base.calibration.quantizer(base.graph.layer(layer).source, 2)
    handle = module.register_forward_pre_hook(lambda _, given: (quantizer(given[0]),))
    found = divergence(expected, base.model(x))
    handle.remove()
    assert table.activations[layer][2] == pytest.approx(found, rel=1e-4)


def test_removed_filters_are_measured_without_them(
    context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor]
) -> None:
    """Without batch norms to recalibrate, what is left is the float network whose filters are zero."""
    base, x = context("gated"), images("gated", 8)
    table = measure_sensitivity(base, make_search_space(base.graph, SETTINGS), x)
    group = next(group for group in base.graph.prunable if group.size > 2)
    gone = set(base.order[group.name][group.size // 2 :])
    model = copy.deepcopy(base.model)
    mask_filters(model, base.graph, frozenset(i for each in base.graph.groups for i in each.classes if i not in gone))
    found = divergence(base.model(x), model(x))
    assert found > 0
    assert table.filters[group.name][0.5] == pytest.approx(found, rel=1e-4)
    assert table.filters[group.name][1.0] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("network", ["option_a", "gated"])
def test_narrower_diverges_more_and_seeds_follow(
    network: str, context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor]
) -> None:
    base, device = context(network), load("bitfusion")
    space = make_search_space(base.graph, SETTINGS)
    table = measure_sensitivity(base, space, images(network, 16))
    assert min(loss for losses in table.weights.values() for loss in losses.values()) >= 0
    assert min(loss for losses in table.activations.values() for loss in losses.values()) >= 0
    assert min(loss for losses in table.filters.values() for loss in losses.values()) >= 0
    totals = [
        sum(losses[LayerChoice(layer=layer, weight_bits=bits)] for layer, losses in table.weights.items())
        for bits in (2, 8)
    ]
    assert totals[0] > totals[1]
    price = one_by_one(lambda candidate: cost(base.graph, candidate, device).energy_pj)
    seeds = choose_seeds(space, table, price, 8)
    assert len({seed.candidate.digest() for seed in seeds}) == 8


def test_adaptive_rounding_diverges_less(
    context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor]
) -> None:
    base, x = context("option_a"), images("option_a", 16)
    space = make_search_space(base.graph, SpaceSettings(weight_bits=(3,), activation_bits=(8,)))
    adaptive = replace(base, quantizer=QuantizerSettings(rounding="adaptive"))
    sums = [
        sum(sum(losses.values()) for losses in measure_sensitivity(each, space, x).weights.values())
        for each in (base, adaptive)
    ]
    assert sums[1] < sums[0]

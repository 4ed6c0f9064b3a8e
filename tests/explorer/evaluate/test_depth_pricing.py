"""A network without blocks costs what the same network costs that was never written with them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import hwmodels
from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import uniform
from explorer.evaluate.depth_pricing import DepthPricing
from explorer.evaluate.hardware import cost
from explorer.evaluate.weight_entropy import WeightEntropies
from explorer.graph.canonical import canonicalise
from explorer.graph.trace import trace
from explorer.models.resnet import CifarResNet


@pytest.mark.parametrize("device", ["bitfusion", "gap9_ne16", "ethos_u55_128"])
def test_prices_are_those_of_a_network_that_never_had_the_blocks(device: str) -> None:
    model, images = CifarResNet(3, 10).eval(), torch.randn(8, 3, 32, 32)
    shorter = copy.deepcopy(model)
    shorter.layer1 = nn.Sequential(shorter.layer1[0], shorter.layer1[2])
    shorter.layer3 = nn.Sequential(shorter.layer3[0])
    written = trace(canonicalise(shorter, images[:4]), images[:4])
    accelerator = hwmodels.load(device)
    context = CompressionContext.of(model, images)
    entropies = WeightEntropies.of(context, accelerator)
    prices = DepthPricing(context.graph_without, accelerator, entropies)
    blocks = ("layer1.1", "layer3.1", "layer3.2")
    pricing = prices.without(blocks)
    assert prices.without(blocks) is pricing
    candidate = uniform(pricing.graph, 4)
    assert candidate.removed_blocks == blocks
    found = pricing.price(candidate)
    other = None
    if entropies is not None:
        other = WeightEntropies(CompressionContext.of(shorter, images)).of_candidate(uniform(written, 4))
    expected = cost(written, uniform(written, 4), accelerator, other)
    assert found.energy_pj == pytest.approx(expected.energy_pj)
    assert found.latency_cycles == expected.latency_cycles
    assert found.weight_bytes == expected.weight_bytes
    assert found.peak_activation_bytes == expected.peak_activation_bytes
    assert found.macs == expected.macs == written.macs
    whole = prices.without(()).price(uniform(context.graph, 4))
    assert whole.macs == context.graph.macs > found.macs
    assert whole.latency_cycles > found.latency_cycles

"""How long the seeds of deep networks take, next to pricing the whole network for every change of one layer.

The seeds of ResNet-32 in the space of studies/resnet20_cifar10, and of a plain chain of 300 layers, on Bit Fusion, and
on Gemmini with a scratchpad in which a part of the activations stays.
Estimated losses are drawn, since only their number matters here. The ratio compares the time with as many calls of the
device model for the whole network.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace

import torch
from torch import Tensor, nn

from explorer.compress.candidate import Candidate, uniform
from explorer.evaluate import hardware
from explorer.evaluate.pricing import Pricing
from explorer.graph.canonical import canonicalise
from explorer.graph.layers import ModelGraph
from explorer.graph.trace import trace
from explorer.models.resnet import CifarResNet
from explorer.search.axes import ACTIVATION_BITS, FILTER_KEEP_RATIO
from explorer.search.options import one_by_one
from explorer.search.seeds import choose_seeds
from explorer.search.sensitivity import Sensitivity
from explorer.search.space import SearchSpace, make_search_space
from explorer.settings import SpaceSettings
from hwmodels import Accelerator, load

SPACE = SpaceSettings(
    weight_bits=(2, 3, 4, 5, 6, 7, 8), activation_bits=(4, 6, 8), filter_keep_ratio=(0.5, 0.625, 0.75, 0.875, 1.0)
)
SEEDS = 20
WHOLE = 20
"""Candidates that are priced whole, to know what one takes."""


def chain(layers: int) -> nn.Module:
    """Return a plain chain of 3 x 3 convolutions with 16 channels and a classifier."""
    convolutions = [nn.Conv2d(3 if index == 0 else 16, 16, 3, padding=1) for index in range(layers - 1)]
    activated = [module for convolution in convolutions for module in (convolution, nn.ReLU())]
    return nn.Sequential(*activated, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def drawn(graph: ModelGraph, space: SearchSpace) -> Sensitivity:
    """Return losses that fall as widths and shares grow, with a factor of each layer's own."""
    draw = random.Random(0)
    factors = {name: draw.lognormvariate(0, 1) for name in (*space.layers, *(group.name for group in graph.prunable))}
    return Sensitivity(
        weights={
            layer: {choice: factors[layer] * 4.0**-choice.weight_bits for choice in space.weight_choices(layer)}
            for layer in space.layers
        },
        activations={
            layer: {bits: factors[layer] * 4.0**-bits for bits in space.values(ACTIVATION_BITS, layer)}
            for layer in space.layers
        },
        filters={
            group.name: {
                ratio: factors[group.name] * (1 - ratio) for ratio in space.values(FILTER_KEEP_RATIO, group.name)
            }
            for group in graph.prunable
        },
    )


def list_devices() -> tuple[Accelerator, ...]:
    """Return a device that keeps no activations, and one that has no room for some of them."""
    gemmini = load("gemmini_default")
    scratchpad, accumulator = gemmini.buffers
    return load("bitfusion"), replace(gemmini, buffers=(replace(scratchpad, size_bytes=32768), accumulator))


def measure(name: str, model: nn.Module, images: Tensor, device: Accelerator) -> None:
    """Print the CPU seconds of a network's seeds, and what share of them pricing takes."""
    graph = trace(canonicalise(model.eval(), images), images)
    space = make_search_space(graph, SPACE)
    table, pricing = drawn(graph, space), Pricing(graph, device)
    asked, priced = 0, 0.0

    def price_candidate(candidate: Candidate) -> float:
        nonlocal asked, priced
        start = time.process_time()
        energy = pricing.price(candidate).energy_pj
        asked, priced = asked + 1, priced + time.process_time() - start
        return energy

    start = time.process_time()
    seeds = choose_seeds(space, table, one_by_one(price_candidate), SEEDS)
    seconds = time.process_time() - start
    start = time.process_time()
    for _ in range(WHOLE):
        hardware.cost(graph, uniform(graph), device)
    whole = (time.process_time() - start) / WHOLE * asked
    print(
        f"{name} on {device.name}: {len(seeds)} seeds in {seconds:.1f} s CPU, of which {priced:.1f} s price {asked} "
        f"candidates; pricing the whole network each time takes {whole:.0f} s, {whole / priced:.0f} times as long"
    )


def main() -> None:
    """Measure both networks."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for device in list_devices():
        measure("ResNet-32", CifarResNet(blocks=5, classes=10), torch.rand(2, 3, 32, 32), device)
        measure("300 layers", chain(300), torch.rand(2, 3, 16, 16), device)


if __name__ == "__main__":
    main()

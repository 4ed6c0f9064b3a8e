"""Networks without some of their blocks: the commuting square, masks, integers and files, on random candidates."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate
from explorer.compress.prune import copy_network, remove_filters
from explorer.graph.blocks import remove_blocks
from explorer.graph.layers import ModelGraph
from explorer.graph.trace import trace
from explorer.models.mlperf_tiny import SeparableBlock
from explorer.models.mobilenet_v2 import InvertedResidual
from explorer.models.reference import REFERENCE_NETWORKS
from explorer.models.resnet import CifarResNet
from tests.oracles.mask import WithoutBlocks, mask_filters, masked
from tests.support.square import check_square, double, random_candidate, random_classes
from tests.support.styles import build


def inverted() -> nn.Module:
    """Inverted residuals, two in a row."""
    blocks = [InvertedResidual(8, channels, stride, 3) for channels, stride in ((8, 1), (8, 1), (8, 2), (8, 1))]
    ends = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU6(), *blocks, *ends)


def chain() -> nn.Module:
    """Layers between equal shapes, separable ones among them."""
    layers: list[nn.Module] = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    for _ in range(3):
        layers += [nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    layers += [nn.MaxPool2d(2), SeparableBlock(8, 8, 1, False), SeparableBlock(8, 12, 2, False)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 5))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "option_a": lambda: CifarResNet(2, 5),
    "option_b": lambda: CifarResNet(2, 5, "B"),
    "inverted": inverted,
    "chain": chain,
    "squeeze": lambda: build("squeeze"),
    "shuffle": lambda: build("shuffle"),
}
LARGE = [name for name in ("resnet56", "mobilenet_v2", "vgg16") if name in REFERENCE_NETWORKS]
NAMES = [*NETWORKS, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)]


@cache
def context_of(name: str) -> CompressionContext:
    """A network with random weights; batch norms know what they receive."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = NETWORKS[name]() if name in NETWORKS else REFERENCE_NETWORKS[name](10)
        size = 16 if name in NETWORKS else 32
        for norm in model.train().modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.momentum = 1.0
        with torch.no_grad():
            model(torch.randn(8, 3, size, size))
        return CompressionContext.of(model.eval(), torch.randn(6, 3, size, size))


def draw_blocks(context: CompressionContext, draw: random.Random) -> tuple[str, ...]:
    known = [block.name for block in context.graph.removable]
    assert known
    return tuple(draw.sample(known, draw.randint(1, len(known))))


def draw_candidate(context: CompressionContext, seed: int) -> Candidate:
    draw = random.Random(seed)
    blocks = draw_blocks(context, draw)
    return replace(random_candidate(context.shortened(blocks).graph, draw), removed_blocks=blocks)


def images_of(context: CompressionContext, count: int = 2) -> torch.Tensor:
    (shape,) = context.graph.input_shapes
    return torch.randn(count, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_built_without_blocks_is_what_was_costed(name: str) -> None:
    context = context_of(name)
    for seed in range(4 if name in NETWORKS else 1):
        candidate = draw_candidate(context, seed)
        shortened = context.shortened(candidate.removed_blocks)
        built = check_square(shortened, candidate, images_of(context).float())
        names = {
            layer for block in context.graph.blocks if block.name in candidate.removed_blocks for layer in block.layers
        }
        assert names
        assert not names & {name for name, _ in built.named_modules()}
        assert set(context.graph.layer_names) - set(shortened.graph.layer_names) == names


def carry(kept: frozenset[int], whole: ModelGraph, shortened: ModelGraph) -> frozenset[int]:
    """The same filters in the network without blocks: by their places among the outputs, and the inputs, of layers."""
    found = set[int]()
    for layer in shortened.layers:
        before = whole.layer(layer.name)
        for own, old in ((layer.output_classes, before.output_classes), (layer.input_classes, before.input_classes)):
            found.update(new for new, known in zip(own, old, strict=True) if known in kept)
    return frozenset(found)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in {"chain", "shuffle"}])
def test_removed_filters_and_blocks_are_masked_filters_and_branches_times_zero(name: str) -> None:
    """In a chain without a block, filters of the layers around it are tied that were not before."""
    context = context_of(name)
    images = images_of(context)
    for seed in range(3):
        draw = random.Random(seed)
        blocks = draw_blocks(context, draw)
        kept = random_classes(context.graph, draw)
        masks, short = double(context.model), copy_network(context.model)
        mask_filters(masks, context.graph, kept)
        remove_blocks(short, context.graph, blocks)
        graph = trace(short, images.float())
        remove_filters(short, graph, carry(kept, context.graph, graph))
        gone = [block for block in context.graph.blocks if block.name in blocks]
        with torch.no_grad():
            expected, received = WithoutBlocks(masks, gone).run(images), short.double()(images)
            plain = WithoutBlocks(double(context.model), gone).run(images)
        assert (expected - received).abs().max() <= 1e-9
        assert (plain - received).abs().max() > 1e-6


@pytest.mark.parametrize("name", NETWORKS)
def test_removed_blocks_are_branches_times_zero_or_what_they_were_given(name: str) -> None:
    context = context_of(name)
    images = images_of(context)
    for seed in range(3):
        blocks = draw_blocks(context, random.Random(seed))
        short = copy_network(context.model)
        remove_blocks(short, context.graph, blocks)
        gone = [block for block in context.graph.blocks if block.name in blocks]
        with torch.no_grad():
            expected = WithoutBlocks(double(context.model), gone).run(images)
            assert (expected - short.double()(images)).abs().max() <= 1e-9
            assert (expected - double(context.model)(images)).abs().max() > 1e-6


@pytest.mark.parametrize("name", NETWORKS)
def test_masked_and_removed_filters_agree_in_a_network_without_blocks(name: str) -> None:
    context = context_of(name)
    images = images_of(context)
    for seed in range(2):
        candidate = draw_candidate(context, seed)
        built = apply(context, candidate)
        whole = masked(built, context.shortened(candidate.removed_blocks), candidate)
        with torch.no_grad():
            expected, received = built.double()(images), whole.double()(images)
        assert (expected - received).abs().max() <= 1e-9 * max(1.0, float(expected.abs().max()))

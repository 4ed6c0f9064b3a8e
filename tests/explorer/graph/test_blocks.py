"""Blocks: which are found and why others are locked, and that removing one is multiplying its branch by zero."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from explorer.graph.blocks import remove_blocks
from explorer.graph.canonical import canonicalise
from explorer.graph.layers import ModelGraph
from explorer.graph.trace import trace
from explorer.models.mlperf_tiny import TinyMobileNetV1
from explorer.models.mobilenet_v2 import MobileNetV2
from explorer.models.resnet import CifarResNet
from explorer.models.vgg import Vgg16
from tests.support.styles import build, unsettle

Forward = Callable[[Any, Tensor], Tensor]


class Written(nn.Module):
    """Convolutions of four channels; how they are connected is the case."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self.stem, self.a, self.b, self.c = (nn.Conv2d(n, 4, 3, padding=1) for n in (3, 4, 4, 4))
        self.fc = nn.Linear(4, 5)
        self.body = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(self, F.relu(self.stem(x))).mean((2, 3)))  # type: ignore[no-any-return]


def traced(model: nn.Module, size: int = 32) -> tuple[fx.GraphModule, ModelGraph, Tensor]:
    images = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(1))
    canonical = canonicalise(model.eval(), images)
    return canonical, trace(canonical, images), images


def settled(model: nn.Module) -> nn.Module:
    """The model with batch norms of all kinds, so that no branch is near zero by itself."""
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            unsettle(norm)
    return model.eval()


def without(model: nn.Module, *blocks: str) -> Tensor:
    """Outputs of the network with these blocks removed; layers and nodes keep their names."""
    canonical, graph, images = traced(model)
    left = copy.deepcopy(canonical)
    remove_blocks(left, graph, blocks)
    gone = {layer for block in graph.blocks if block.name in blocks for layer in block.layers}
    assert trace(left, images).layer_names == tuple(name for name in graph.layer_names if name not in gone)
    assert {node.name for node in left.graph.nodes} < {node.name for node in canonical.graph.nodes}
    return left(images)  # type: ignore[no-any-return]


def times_zero(model: nn.Module, *branches: str) -> Tensor:
    """Outputs of the user's own network where what these of its modules give is multiplied by zero."""
    masked = copy.deepcopy(model)
    for path in branches:
        masked.get_submodule(path).register_forward_hook(lambda _, __, output: output * 0)
    return masked(traced(model)[2])  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("option", "reason"), [("A", "its skip pads or strides"), ("B", "its skip is a layer of its own, .*shortcut.0'")]
)
def test_blocks_go_by_their_modules_and_those_that_change_the_shape_stay(option: Any, reason: str) -> None:
    _, graph, _ = traced(CifarResNet(3, 10, option))
    assert [block.name for block in graph.blocks] == [f"layer{i}.{j}" for i in (1, 2, 3) for j in (0, 1, 2)]
    assert [block.name for block in graph.blocks if block.locked] == ["layer2.0", "layer3.0"]
    assert re.match(reason, graph.blocks[3].locked)
    assert graph.blocks[1].layers == ("layer1.1.conv1", "layer1.1.conv2")


def test_inverted_residuals_are_blocks_and_separable_layers_of_equal_shape_are() -> None:
    _, graph, _ = traced(MobileNetV2(10))
    assert [block.name for block in graph.blocks] == [f"features.{i}" for i in (3, 5, 6, 8, 9, 10, 12, 13, 15, 16)]
    assert graph.blocks[0].layers == ("features.3.conv.0.0", "features.3.conv.1.0", "features.3.conv.2")
    _, graph, _ = traced(TinyMobileNetV1(2), 96)
    equal = [layer.in_channels for layer in graph.layers if layer.depthwise and layer.stride == (1, 1)]
    pairs = [block for block in graph.removable if len(block.layers) == 2]
    assert len(pairs) == sum(1 for channels in equal[1:])  # the first of them doubles its channels
    assert all(graph.layer(block.layers[0]).depthwise for block in pairs)


def test_layers_between_equal_shapes_are_blocks_of_a_plain_network() -> None:
    _, graph, _ = traced(Vgg16(10))
    shapes = {layer.name: (layer.in_channels, layer.out_channels) for layer in graph.layers}
    same = [name for name, (before, after) in shapes.items() if before == after]
    assert [block.name for block in graph.removable] == same
    assert len(same) == 9


@pytest.mark.parametrize("blocks", [("layer1.0",), ("layer1.0", "layer1.1", "layer1.2"), ("layer1.1", "layer3.2")])
def test_a_residual_network_without_blocks_computes_what_it_does_with_their_branches_times_zero(
    blocks: tuple[str, ...],
) -> None:
    model = settled(CifarResNet(3, 10))
    assert torch.equal(without(model, *blocks), times_zero(model, *(f"{block}.bn2" for block in blocks)))


def test_inverted_residuals_are_removed_as_their_branches_times_zero() -> None:
    model = settled(MobileNetV2(10))
    blocks = ("features.5", "features.6", "features.16")
    assert torch.equal(without(model, *blocks), times_zero(model, *(f"{block}.conv" for block in blocks)))


def test_layers_of_a_chain_are_removed_with_their_norms_and_activations() -> None:
    model = settled(Vgg16(10))
    assert isinstance(model, Vgg16)
    shorter = copy.deepcopy(model)
    kept = [module for index, module in enumerate(shorter.features) if index not in {*range(17, 23), *range(34, 37)}]
    shorter.features = nn.Sequential(*kept)
    images = traced(model)[2]
    assert torch.allclose(without(model, "features.17", "features.20", "features.34"), shorter(images), atol=1e-6)


def inner(m: Any, x: Tensor) -> Tensor:
    y = F.relu(m.a(x))
    y = y + F.relu(m.b(y))
    return x + m.c(y)  # type: ignore[no-any-return]


def leaking(m: Any, x: Tensor) -> Tensor:
    y = F.relu(m.a(x))
    return F.relu(x + m.b(y)) * y


def fed(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    z = F.relu(y)
    return z + m.b(z) * m.c(y)  # type: ignore[no-any-return]


def difference(m: Any, x: Tensor) -> Tensor:
    return m.a(x) - x  # type: ignore[no-any-return]


def scaled(m: Any, x: Tensor) -> Tensor:
    return torch.add(m.a(x), x, alpha=2)


def joined(m: Any, x: Tensor) -> Tensor:
    return torch.cat((x, F.relu(m.a(x))), 1)[:, 2:6]


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (inner, {"b": "", "a to c": "it holds the block 'b'"}),
        (leaking, {"a to b": "'mul' reads what is inside of its branch as well"}),
        (fed, {"b": "its branch reads 'c' as well"}),
        (difference, {}),
        (scaled, {}),
        (joined, {}),
        (lambda m, x: F.relu(m.b(F.relu(m.a(x)))), {"a": "", "b": ""}),
        (lambda m, x: m.a(x) + m.b(x), {}),
        (lambda m, x: x + 1, {}),
    ],
)
def test_what_is_no_block_and_what_is_locked(forward: Forward, expected: dict[str, str]) -> None:
    _, graph, _ = traced(Written(forward), 8)
    assert {block.name: block.locked for block in graph.blocks} == expected


def test_layers_that_share_their_weights_are_locked() -> None:
    _, graph, _ = traced(build("reused"), 16)
    assert graph.blocks
    assert not graph.removable
    assert "share their weights" in graph.blocks[0].locked


def test_blocks_survive_json_and_do_not_change_the_digest() -> None:
    _, graph, _ = traced(CifarResNet(1, 10))
    data = graph.to_json()
    assert ModelGraph.from_json(data) == graph
    assert ModelGraph.from_json({**data, "blocks": []}).digest() == graph.digest()
    assert ModelGraph.from_json({**data, "removed_blocks": ["layer1.0"]}).digest() != graph.digest()

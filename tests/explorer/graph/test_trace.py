"""Trace: hand-checked index maps of channel groups, locks and their reasons, stored activations, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.compress.apply import CompressionContext
from explorer.errors import ModelError
from explorer.graph.canonical import canonicalise
from explorer.graph.layers import ModelGraph
from explorer.graph.trace import trace

Body = Callable[[Any, Tensor], Any]
EXAMPLE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """Two convolutions and a linear layer; the case says what lies between."""

    def __init__(self, body: Body, features: int, **layers: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(features, 5)
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.body = body

    def forward(self, x: Tensor) -> Any:
        return self.fc(self.body(self, x))


def traced(body: Body, features: int, **layers: nn.Module) -> ModelGraph:
    return trace(canonicalise(Net(body, features, **layers), EXAMPLE), EXAMPLE)


def groups(graph: ModelGraph) -> dict[str, tuple[int, tuple[str, ...], str]]:
    return {group.name: (group.size, group.producers, group.locked) for group in graph.groups}


def ranks(graph: ModelGraph, classes: tuple[int, ...]) -> list[tuple[str, int]]:
    """(group, index in the group) of every channel."""
    where = {identity: (g.name, index) for g in graph.groups for index, identity in enumerate(g.classes)}
    return [where[identity] for identity in classes]


def pooled(m: Any, x: Tensor) -> Any:
    return F.relu(m.conv2(F.relu(m.conv1(x)))).mean((2, 3))


def test_layers_of_a_chain() -> None:
    graph = traced(pooled, 8)
    first, second, last = graph.layers
    assert graph.layer_names == ("conv1", "conv2", "fc")
    assert (first.kind, first.in_channels, first.out_channels, first.kernel_size) == ("conv", 3, 8, (3, 3))
    assert (first.input_size, first.output_size, first.weights, first.macs) == ((8, 8), (8, 8), 216, 216 * 64)
    assert (last.kind, last.in_channels, last.out_channels, last.macs) == ("linear", 8, 5, 40)
    assert second.input_classes == first.output_classes
    assert last.input_classes == second.output_classes
    assert [group.name for group in graph.prunable] == ["conv1", "conv2"]
    assert groups(graph)["input"] == (3, (), "they are the network's input")
    assert groups(graph)["fc"] == (5, ("fc",), "they are the network's output")
    assert ("fc", "its 5 channels are all kept: they are the network's output") in [
        (entry.path, entry.reason) for entry in graph.skipped
    ]
    assert (graph.weights, graph.macs) == (216 + 576 + 40, (216 + 576) * 64 + 40)


def test_stored_activations_of_a_chain() -> None:
    """Each relu is stored once with its convolution; the mean is derived, the logits are read by nothing."""
    graph = traced(pooled, 8)
    entries = {entry.name: entry for entry in graph.activations}
    assert list(entries) == ["x", "relu_2", "relu_3", "mean", "fc"]
    assert [(e.first_step, e.last_step) for e in graph.activations] == [(0, 0), (0, 1), (1, 2), (2, 3), (3, 4)]
    assert entries["relu_3"].feeds == ("mean",)
    assert [e.readers for e in graph.activations] == [("conv1",), ("conv2",), (), ("fc",), ()]
    assert [e.quantized for e in graph.activations] == [True, True, True, True, False]
    assert [e.size for e in graph.activations] == [(8, 8), (8, 8), (8, 8), (1, 1), (1, 1)]


def test_max_pooling_needs_no_quantiser_before_it() -> None:
    graph = traced(lambda m, x: F.max_pool2d(F.relu(m.conv1(x)), 8).flatten(1), 8)
    assert [(e.name, e.quantized) for e in graph.activations][1:3] == [("relu_1", False), ("max_pool2d_1", True)]


def test_option_a_has_one_group_for_each_stage(context: Callable[[str], CompressionContext]) -> None:
    """Channel i of a stage is channel i + planes/4 of the next: 4 channels, 2 + 4 + 2, then 4 + 8 + 4."""
    graph = context("option_a").graph
    stream = {name: size for name, (size, producers, _) in groups(graph).items() if len(producers) > 1}
    assert stream == {"conv": 4, "stage2.conv2": 4}
    assert groups(graph)["stage3.conv2"][:2] == (8, ("stage3.conv2",))
    assert groups(graph)["conv"][1] == ("conv", "stage1.conv2", "stage2.conv2", "stage3.conv2")
    assert groups(graph)["stage2.conv2"][1] == ("stage2.conv2", "stage3.conv2")
    second = [("stage2.conv2", 0), ("stage2.conv2", 1)]
    second += [("conv", index) for index in range(4)]
    second += [("stage2.conv2", 2), ("stage2.conv2", 3)]
    third = [("stage3.conv2", index) for index in range(4)] + second
    third += [("stage3.conv2", index) for index in range(4, 8)]
    assert ranks(graph, graph.layer("stage2.conv2").output_classes) == second
    assert ranks(graph, graph.layer("stage3.conv2").output_classes) == third
    assert ranks(graph, graph.layer("fc").input_classes) == third
    assert ranks(graph, graph.layer("stage3.conv1").input_classes) == second
    padding = [entry for entry in graph.index_maps if entry.node.startswith("pad")]
    assert [ranks(graph, entry.classes) for entry in padding] == [second, third]


def test_a_projection_shortcut_is_tied_to_its_block(context: Callable[[str], CompressionContext]) -> None:
    graph = context("projection").graph
    assert graph.layer("shortcut").output_classes == graph.layer("b2").output_classes
    assert groups(graph)["b2"] == (12, ("b2", "shortcut"), "")
    assert groups(graph)["stem"] == (6, ("stem", "a2"), "")
    assert graph.layer("a2").output_classes == graph.layer("stem").output_classes
    assert groups(graph)["a1"] == (5, ("a1",), "")


def test_concatenation_flatten_and_depthwise(context: Callable[[str], CompressionContext]) -> None:
    """A flattened channel is four features in a row; the depthwise layer keeps its input's classes."""
    graph = context("mixed").graph
    stem, depthwise = graph.layer("stem"), graph.layer("depthwise")
    assert depthwise.depthwise
    assert depthwise.weights == 54
    assert depthwise.input_classes == depthwise.output_classes == stem.output_classes
    assert groups(graph)["stem"] == (6, ("stem", "depthwise"), "")
    joined = [("left", index) for index in range(4)] + [("right", index) for index in range(5)]
    assert ranks(graph, graph.layer("fc1").input_classes) == [entry for entry in joined for _ in range(4)]
    names = [group.name for group in graph.groups]
    assert graph.layer("fc1").reads == ((names.index("left"), 4), (names.index("right"), 4))
    (norm,) = [entry for entry in graph.index_maps if entry.node == "joined_norm"]
    assert ranks(graph, norm.classes) == joined


def grouped(m: Any, x: Tensor) -> Any:
    return m.grouped(m.conv1(x)).mean((2, 3))


def permuted(m: Any, x: Tensor) -> Any:
    return m.conv2(m.conv1(x).permute(0, 1, 3, 2)).mean((2, 3))


def chunked(m: Any, x: Tensor) -> Any:
    left, right = m.conv1(x).chunk(2, 1)
    return m.conv2(torch.cat((right, left), 1)).mean((2, 3))


def chunked_whole(m: Any, x: Tensor) -> Any:
    return m.conv2(torch.cat(m.conv1(x).chunk(2, 1), dim=1)).mean((2, 3))


def cropped(m: Any, x: Tensor) -> Any:
    return m.conv2(F.pad(F.pad(m.conv1(x), (0, 0, 0, 0, 1, 1)), (0, 0, 0, 0, -1, -1))).mean((2, 3))


def wrong_mean(m: Any, x: Tensor) -> Any:
    """Over channels and rows: what is left are 8 columns, which look like the 8 channels."""
    return m.conv1(x).mean((1, 2))


def filled_padding(m: Any, x: Tensor) -> Any:
    return F.pad(m.conv1(x), (0, 0, 0, 0, 1, 1), value=0.5).mean((2, 3))


@pytest.mark.parametrize(
    ("body", "features", "locked", "reason"),
    [
        (permuted, 8, ("conv1",), r"operation permute at test_trace.py, line \d+ has no pruning rule"),
        (wrong_mean, 8, ("conv1",), r"operation mean at test_trace.py, line \d+ has no pruning rule"),
        (filled_padding, 10, ("conv1",), "has no pruning rule"),
        (cropped, 8, ("conv1",), "has no pruning rule"),
    ],
)
def test_what_has_no_rule_is_locked_and_reported(
    body: Body, features: int, locked: tuple[str, ...], reason: str
) -> None:
    graph = traced(body, features)
    found = groups(graph)
    assert all(re.search(reason, found[name][2]) for name in locked)
    assert not set(locked) & {group.name for group in graph.prunable}
    reasons = {entry.path: entry.reason for entry in graph.skipped}
    assert all(re.search(reason, reasons[name]) for name in locked)


def test_a_grouped_convolution_keeps_the_same_of_every_group() -> None:
    graph = traced(grouped, 8, grouped=nn.Conv2d(8, 8, 3, padding=1, groups=2))
    assert groups(graph) == {**groups(graph), "conv1": (4, ("conv1",), ""), "grouped": (4, ("grouped",), "")}
    layer = graph.layer("grouped")
    for classes in (layer.input_classes, layer.output_classes):
        assert classes[:4] == classes[4:]
        assert len(set(classes)) == 4


def test_parts_of_channels_are_followed_through_chunks_and_back() -> None:
    graph = traced(chunked, 8)
    classes = graph.layer("conv1").output_classes
    assert graph.layer("conv2").input_classes == classes[4:] + classes[:4]
    assert graph.skipped[0].reason.startswith("moves data only")
    whole = traced(chunked_whole, 8)
    assert whole.layer("conv2").input_classes == whole.layer("conv1").output_classes


def test_a_layer_without_rule_is_reported_as_not_costed() -> None:
    def body(m: Any, x: Tensor) -> Any:
        return m.norm(m.conv1(x)).mean((2, 3))

    graph = traced(body, 8, norm=nn.GroupNorm(2, 8))
    reasons = {entry.path: entry.reason for entry in graph.skipped}
    reason = (
        r"no rule for this operation at test_trace.py, line \d+: its weights stay in float and its cost is not counted"
    )
    assert re.fullmatch(reason, reasons["norm"])


def test_squeeze_and_excitation_ties_the_gate_to_what_it_scales() -> None:
    def body(m: Any, x: Tensor) -> Any:
        x = m.conv1(x)
        return (x * torch.sigmoid(m.gate(x.mean((2, 3), keepdim=True)))).mean((2, 3))

    graph = traced(body, 8, gate=nn.Conv2d(8, 8, 1))
    assert graph.layer("gate").output_classes == graph.layer("conv1").output_classes
    assert groups(graph)["conv1"] == (8, ("conv1", "gate"), "")


def test_a_graph_survives_json(context: Callable[[str], CompressionContext]) -> None:
    for name in ("option_a", "projection", "mixed"):
        graph = context(name).graph
        again = ModelGraph.from_json(json.loads(json.dumps(graph.to_json())))
        assert again == graph
        assert again.digest() == graph.digest()


def test_a_network_without_layers_and_an_unknown_layer_are_refused() -> None:
    with pytest.raises(ModelError, match=r"no convolution \(nn\.Conv2d\) or fully connected layer"):
        trace(canonicalise(nn.Flatten(), EXAMPLE), EXAMPLE)
    with pytest.raises(ModelError, match=r"no layer is called 'conv9'; the layers are conv1, conv2, fc"):
        traced(pooled, 8).layer("conv9")

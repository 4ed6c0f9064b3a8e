"""Merging: equal filters are merged without a trace, in every style of network; others as the formula says."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import uniform
from explorer.compress.compensate import compensated_filters
from explorer.compress.merge import find_twins, merge_columns
from explorer.compress.prune import remove_filters
from explorer.graph.inputs import Inputs, as_tuple
from explorer.graph.layers import ChannelGroup, ModelGraph
from explorer.settings import QuantizerSettings
from tests.support import styles

BASES = ("lenet5_digits", "option_a", "projection", "mixed", "gated")
PREPARED = (*BASES, *(f"style_{name}" for name in styles.STYLES))


def copied(model: fx.GraphModule) -> fx.GraphModule:
    made = copy.deepcopy(model).double()
    for before, after in zip(model.graph.nodes, made.graph.nodes, strict=True):
        after.meta = dict(before.meta)
    return made


def positions(classes: tuple[int, ...], identity: int) -> list[int]:
    return [place for place, each in enumerate(classes) if each == identity]


def merge_filters(model: fx.GraphModule, graph: ModelGraph, kept: frozenset[int]) -> None:
    """Give every layer the columns of what goes in those of what takes over."""
    twins = find_twins(model, graph, kept)
    for layer in graph.layers:
        module = model.get_submodule(layer.name)
        module.weight = nn.Parameter(merge_columns(module.get_parameter("weight").data, layer, twins))


def make_equal(model: fx.GraphModule, graph: ModelGraph, one: int, other: int) -> None:
    """Give all that makes channel class `other` the numbers of that which makes `one`."""
    for layer in graph.layers:
        module = model.get_submodule(layer.name)
        for source, goal in zip(
            positions(layer.output_classes, one), positions(layer.output_classes, other), strict=True
        ):
            for parameter in module.parameters():
                parameter.data[goal] = parameter.data[source]
    nodes = {node.name: node for node in model.graph.nodes}
    for index_map in graph.index_maps:
        node = nodes[index_map.node]
        module = model.get_submodule(str(node.target)) if node.op == "call_module" else nn.Identity()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.PReLU):
            for source, goal in zip(
                positions(index_map.classes, one), positions(index_map.classes, other), strict=True
            ):
                for tensor in (*module.parameters(), *module.buffers()):
                    if tensor.ndim and len(tensor) > 1:
                        tensor.data[goal] = tensor.data[source]


def run(model: fx.GraphModule, inputs: Inputs) -> list[Tensor]:
    with torch.no_grad():
        return tree_leaves(model(*(tensor.double() for tensor in as_tuple(inputs))))


def worst(found: list[Tensor], expected: list[Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True))


def find_pair(graph: ModelGraph, group: ChannelGroup) -> tuple[int, int] | None:
    """Two classes that have as many channels as each other in every place."""

    def places(identity: int) -> list[int]:
        maps = [entry.classes for entry in graph.index_maps]
        return [
            each.count(identity) for layer in graph.layers for each in (layer.output_classes, layer.input_classes)
        ] + [each.count(identity) for each in maps]

    known = {identity: places(identity) for identity in group.classes}
    return next(((a, b) for a in known for b in known if a < b and known[a] == known[b]), None)


@pytest.mark.parametrize("name", PREPARED)
def test_equal_filters_are_merged_without_a_trace(
    name: str, context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor]
) -> None:
    example: Inputs
    if name in BASES:
        base, example = context(name), images(name, 3)
    else:
        example = styles.inputs(name.removeprefix("style_"), 3)
        base = CompressionContext.of(styles.build(name.removeprefix("style_")), example)
    tried = 0
    for group in base.graph.prunable:
        pair = find_pair(base.graph, group)
        if pair is None:
            continue
        tried += 1
        whole = copied(base.model)
        make_equal(whole, base.graph, *pair)
        expected = run(whole, example)
        kept = frozenset(c for each in base.graph.groups for c in each.classes) - {pair[1]}
        merged, removed = copied(whole), copied(whole)
        merge_filters(merged, base.graph, kept)
        for model in (merged, removed):
            remove_filters(model, base.graph, kept)
        assert worst(run(merged, example), expected) <= 1e-9, group.name
    assert tried


def test_a_candidate_is_merged_where_its_quantizer_says_so(
    context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor]
) -> None:
    """A network of which half of the filters are twins of the other half keeps what it gives, up to rounding."""
    base = context("lenet5_digits")
    whole = copied(base.model).float()
    for group in base.graph.prunable:
        half = group.size // 2
        for one, other in zip(group.classes[:half], group.classes[half:], strict=True):
            make_equal(whole, base.graph, one, other)
    order = {group.name: group.classes for group in base.graph.prunable}
    plain = CompressionContext.of(whole, images("lenet5_digits", 32), order, graph=base.graph)
    merging = CompressionContext.of(
        whole, images("lenet5_digits", 32), order, graph=base.graph, quantizer=QuantizerSettings(compensation="merge")
    )
    candidate = uniform(base.graph).with_filters({group.name: 0.5 for group in base.graph.prunable})
    expected = run(copied(whole), images("lenet5_digits", 16))
    spread = float(expected[0].std())
    merged, removed = (run(apply(each, candidate).double(), images("lenet5_digits", 16)) for each in (merging, plain))
    assert worst(merged, expected) < 0.1 * spread < worst(removed, expected)
    kept = merging.resolve(candidate).kept
    assert (
        worst(run(compensated_filters(merging, kept).double(), images("lenet5_digits", 16)), expected) < 1e-4 * spread
    )


class TwoLayers(nn.Module):
    """Three neurons between one input and one output."""

    def __init__(self, incoming: list[float], biases: list[float], outgoing: list[float]) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(1, 3), nn.Linear(3, 1)
        self.first.weight.data = torch.tensor(incoming)[:, None]
        self.first.bias.data = torch.tensor(biases)
        self.last.weight.data = torch.tensor(outgoing)[None]

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x)))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("incoming", "biases", "expected"),
    [
        ([2.0, -1.0, 1.5], [0.0, 0.0, 0.0], [5.0, 20.0]),  # the third is next to the first
        ([2.0, 1.0, 1.5], [9.0, 0.2, 0.0], [1.0, 24.0]),  # by its bias to the second
        ([2.0, -1.0, 1.5], [9.0, 9.0, 0.0], [1.0, 20.0]),  # nearer to zeros than to any
    ],
)
def test_the_nearest_by_weights_and_bias_takes_over(
    incoming: list[float], biases: list[float], expected: list[float]
) -> None:
    base = CompressionContext.of(TwoLayers(incoming, biases, [1.0, 20.0, 4.0]), torch.randn(4, 1))
    model, gone = copied(base.model), base.graph.prunable[0].classes[2]
    merge_filters(model, base.graph, frozenset(c for each in base.graph.groups for c in each.classes) - {gone})
    assert model.get_parameter("last.weight").data[0, :2].tolist() == expected

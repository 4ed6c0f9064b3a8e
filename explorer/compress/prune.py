"""Remove whole filters along the channel groups."""

from __future__ import annotations

import copy
import functools
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import fx, nn

from explorer.graph.layers import IndexMap, Layer, ModelGraph
from explorer.graph.modules import SelectChannels, get_attribute, layer_module
from explorer.graph.torch_private import copy_module, make_graph_module, restore_order
from explorer.graph.trace_moves import get_channel_padding

REMEMBERED = 1024
"""Positions of channels that are remembered: each candidate asks several times for those of its layers."""
Order = Mapping[str, tuple[int, ...]]
"""For every prunable group its channel classes, the one to keep first in front."""


def copy_network(model: fx.GraphModule) -> fx.GraphModule:
    """Return a copy that still knows its shapes, and shares no tensor with the network."""
    held = {str(node.target): node.op for node in model.graph.nodes if node.op in {"call_module", "get_attr"}}
    copies = {
        target: copy_module(model.get_submodule(target))
        if op == "call_module"
        else copy.deepcopy(get_attribute(model, target))
        for target, op in held.items()
    }
    copied = make_graph_module(copies, copy.deepcopy(model.graph))
    restore_order(copied, model)
    copied.training = model.training
    return copied


def select_classes(graph: ModelGraph, counts: Sequence[int], order: Order) -> frozenset[int]:
    """Return the channel classes that stay: all locked ones, and so many of the first of every other group's order."""
    kept = [
        group.classes if group.locked else order[group.name][:count]
        for group, count in zip(graph.groups, counts, strict=True)
    ]
    return frozenset(itertools.chain.from_iterable(kept))


def remove_filters(model: fx.GraphModule, graph: ModelGraph, kept: frozenset[int]) -> None:
    """Remove, in place, every channel whose class is not kept: filters, their inputs downstream, batch norms."""
    for layer in graph.layers:
        _narrow_layer(model, layer, kept)
    nodes = {node.name: node for node in model.graph.nodes}
    for index_map in graph.index_maps:
        node = nodes[index_map.node]
        if node.op == "call_module":
            _narrow_module(model.get_submodule(str(node.target)), index_map, kept)
        else:
            _narrow_padding(node, index_map.classes, kept)
    model.recompile()


def narrow_weight(weight: torch.Tensor, layer: Layer, kept: frozenset[int]) -> torch.Tensor:
    """Return what is left of a layer's weight, or of anything of its shape, with the channel classes that are kept."""
    weight = weight[find_positions(layer.output_classes, kept)]
    if not layer.depthwise:
        # All groups keep the same of their inputs.
        columns = layer.input_classes[: len(layer.input_classes) // layer.groups]
        weight = weight[:, find_positions(columns, kept)]
    return weight.contiguous()


def find_kept_positions(graph: ModelGraph, kept: frozenset[int]) -> dict[str, torch.Tensor]:
    """Return for every batch norm and padding node which of its channels stay."""
    return {entry.node: find_positions(entry.classes, kept) for entry in graph.index_maps}


def magnitude_order(model: fx.GraphModule, graph: ModelGraph) -> dict[str, tuple[int, ...]]:
    """Return for every prunable group its channel classes, those of the largest filters first; ties in channel order.

    A class is as large as the L2 norms (He et al., 2018) of all filters that go with it.
    """
    sizes: defaultdict[int, float] = defaultdict(float)
    for layer in graph.layers:
        weight = model.get_parameter(f"{layer.name}.weight").detach().double()
        norms = weight.flatten(1).square().sum(1).sqrt()
        for identity, norm in zip(layer.output_classes, norms.tolist(), strict=True):
            sizes[identity] += norm
    return {
        group.name: tuple(sorted(group.classes, key=lambda identity: (-sizes[identity], identity)))
        for group in graph.prunable
    }


@functools.lru_cache(REMEMBERED)
def find_positions(classes: tuple[int, ...], kept: frozenset[int]) -> torch.Tensor:
    """Return which channels stay of those of these classes, not to be changed: it is remembered."""
    return torch.tensor([i for i, identity in enumerate(classes) if identity in kept], dtype=torch.long)


def _narrow_layer(model: fx.GraphModule, layer: Layer, kept: frozenset[int]) -> None:
    module = layer_module(model, layer.name)
    outputs, inputs = find_positions(layer.output_classes, kept), find_positions(layer.input_classes, kept)
    if layer.depthwise and isinstance(module, nn.Conv2d):
        module.groups = len(inputs)
    module.weight = nn.Parameter(narrow_weight(module.weight.data, layer, kept))
    if module.bias is not None:
        module.bias = nn.Parameter(module.bias.data[outputs])
    if isinstance(module, nn.Conv2d):
        module.in_channels, module.out_channels = len(inputs), len(outputs)
    else:
        module.in_features, module.out_features = len(inputs), len(outputs)


def _narrow_module(module: nn.Module, index_map: IndexMap, kept: frozenset[int]) -> None:
    positions = find_positions(index_map.classes, kept)
    if isinstance(module, SelectChannels):
        # What is selected is kept or removed with what it is selected from.
        rank = {old: new for new, old in enumerate(find_positions(index_map.read_classes, kept).tolist())}
        chosen = [rank[old] for old in module.index[positions.to(module.index.device)].tolist()]
        module.index = torch.tensor(chosen, dtype=torch.long, device=module.index.device)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(positions)
        module.weight = nn.Parameter(module.weight.data[positions])
    else:
        assert isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        _slice_norm(module, positions)


def _slice_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d, positions: torch.Tensor) -> None:
    norm.num_features = len(positions)
    if norm.affine:
        norm.weight = nn.Parameter(norm.weight.data[positions])
        norm.bias = nn.Parameter(norm.bias.data[positions])
    if norm.running_mean is not None and norm.running_var is not None:
        norm.running_mean = norm.running_mean[positions]
        norm.running_var = norm.running_var[positions]


def _narrow_padding(node: fx.Node, classes: tuple[int, ...], kept: frozenset[int]) -> None:
    """Pad with as many zero channels as are kept of those that the padding stood for."""
    dimensions = len(node.meta["shape"])
    before, after = get_channel_padding(node, dimensions)
    padding = [int(entry) for entry in (node.args[1] if len(node.args) > 1 else node.kwargs["pad"])]  # type: ignore[union-attr, arg-type]
    reach = 2 * (dimensions - 2)
    padding[reach] = sum(identity in kept for identity in classes[:before])
    padding[reach + 1] = sum(identity in kept for identity in classes[len(classes) - after :])
    if len(node.args) > 1:
        node.update_arg(1, tuple(padding))
    else:
        node.update_kwarg("pad", tuple(padding))

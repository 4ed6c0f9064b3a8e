"""Channel classes that compute alike: what goes into them, what comes out of them, and how far apart they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from explorer.graph.layers import Layer, ModelGraph
from explorer.graph.modules import BatchNorm, layer_module


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Alike:
    """Classes of one group that the same layers make and read in the same way, so that one can stand for another.

    `incoming` (classes x ...) holds what makes each class: its filters and biases times the gain of the batch norm that
    alone reads them, and the numbers of other batch norms and PReLUs on its way. `outgoing` (classes x ...) are the
    weights of all layers that read it, those before a batch norm times its gain. Both are float64.
    """

    classes: tuple[int, ...]
    incoming: Tensor
    outgoing: Tensor

    def measure_distances(self) -> Tensor:
        """Return the squared Euclidean distances (classes x classes) of what makes them."""
        return torch.cdist(self.incoming, self.incoming, compute_mode="donot_use_mm_for_euclid_dist").square()


def find_alike(model: fx.GraphModule, graph: ModelGraph) -> Iterator[Alike]:
    """Yield the classes of every group that may be pruned, split where layers make or read them in different ways.

    A class that stands for several channels of a layer is compared channel by channel, in their order: those of a
    flattened map, or one in each group of a grouped convolution. Where an addition joins what several layers make,
    classes are as far apart as all of their filters together.
    """
    incoming: _Rows = defaultdict(list)
    outgoing: _Rows = defaultdict(list)
    nodes = {node.name: node for node in model.graph.nodes}
    by_target = {str(node.target): node for node in model.graph.nodes if node.op == "call_module"}
    folded = set()
    for layer in graph.layers:
        node = by_target[layer.name]
        norm = _norm_behind(model, node)
        if norm is not None:
            folded.add(norm[0].name)
        gain, offset = _affine(norm[1]) if norm is not None else (None, None)
        _note_layer(layer, layer_module(model, layer.name), gain, offset, incoming, outgoing)
    for index_map in graph.index_maps:
        if index_map.node not in folded:
            numbers = _numbers(model, nodes[index_map.node], len(index_map.classes))
            _note(incoming, index_map.node, index_map.classes, numbers)
    for group in graph.prunable:
        alike: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
        for identity in group.classes:
            signature = tuple((key, len(row)) for rows in (incoming, outgoing) for key, row in rows[identity])
            alike[signature].append(identity)
        for classes in alike.values():
            yield Alike(
                classes=tuple(classes), incoming=_joined(incoming, classes), outgoing=_joined(outgoing, classes)
            )


_Rows = defaultdict[int, list[tuple[str, Tensor]]]
"""Of each class what it has in each place, in the order of computation."""


def find_columns(layer: Layer) -> tuple[int, ...]:
    """Return the class of each column of a layer's weight; of a depthwise layer, which sums up nothing, none."""
    return () if layer.depthwise else layer.input_classes[: len(layer.input_classes) // layer.groups]


def _note_layer(
    layer: Layer,
    module: nn.Conv2d | nn.Linear,
    gain: Tensor | None,
    offset: Tensor | None,
    incoming: _Rows,
    outgoing: _Rows,
) -> None:
    weight = module.weight.detach().double()
    bias = torch.zeros(len(weight), dtype=torch.float64, device=weight.device)
    if module.bias is not None:
        bias = module.bias.detach().double()
    if gain is not None and offset is not None:
        weight, bias = weight * gain.view(-1, *(1,) * (weight.ndim - 1)), bias * gain + offset
    _note(incoming, layer.name, layer.output_classes, torch.cat((weight.flatten(1), bias[:, None]), dim=1))
    _note(outgoing, layer.name, find_columns(layer), weight.transpose(0, 1).flatten(1))


def _note(rows: _Rows, place: str, classes: Sequence[int], values: Tensor) -> None:
    """Note a row of `values` for each of these classes, those of one class one after the other."""
    positions: defaultdict[int, list[int]] = defaultdict(list)
    for position, identity in enumerate(classes):
        positions[identity].append(position)
    for identity, where in positions.items():
        rows[identity].append((place, values[where].flatten()))


def _joined(rows: Mapping[int, list[tuple[str, Tensor]]], classes: Sequence[int]) -> Tensor:
    return torch.stack([torch.cat([row for _, row in rows[identity]] or [torch.zeros(0)]) for identity in classes])


def _norm_behind(model: fx.GraphModule, node: fx.Node) -> tuple[fx.Node, BatchNorm] | None:
    """Return the batch norm that alone reads a layer, with its node."""
    (reader, *others) = node.users
    module = model.get_submodule(str(reader.target)) if reader.op == "call_module" else None
    fits = not others and isinstance(module, BatchNorm) and module.running_var is not None
    return (reader, module) if fits and isinstance(module, BatchNorm) else None


def _affine(norm: BatchNorm) -> tuple[Tensor, Tensor]:
    """Return what a batch norm multiplies with, and what it adds then (channels)."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = torch.rsqrt(norm.running_var.double() + norm.eps)
    offset = -norm.running_mean.double() * gain
    if norm.affine:
        weight, bias = norm.weight.detach().double(), norm.bias.detach().double()
        gain, offset = gain * weight, offset * weight + bias
    return gain, offset


def _numbers(model: fx.GraphModule, node: fx.Node, channels: int) -> Tensor:
    """Return the numbers (channels x ...) that a node has for each channel; a padding or selection has none."""
    module = model.get_submodule(str(node.target)) if node.op == "call_module" else None
    if isinstance(module, BatchNorm) and module.running_var is not None:
        return torch.stack(_affine(module), dim=1)
    if isinstance(module, nn.PReLU):
        return module.weight.detach().double().expand(channels)[:, None]
    return torch.zeros(channels, 0, dtype=torch.float64)

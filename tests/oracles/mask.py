"""Networks whose filters are masked instead of removed: every shape stays, and so does what they compute."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

import torch
from torch import fx, nn

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import Candidate
from explorer.compress.weights import attach_codes
from explorer.graph.layers import Block, Layer, ModelGraph
from explorer.graph.names import replace_module


def mask_filters(model: fx.GraphModule, graph: ModelGraph, kept: frozenset[int]) -> None:
    """Set to zero, in place, what `remove_filters` removes; every shape stays, and so do the network's outputs.

    A removed channel need not be zero where it is stored (a sigmoid makes one half of zero), so the weights that read
    it are zero as well as those that make it.
    """
    for layer in graph.layers:
        module = model.get_submodule(layer.name)
        assert isinstance(module, nn.Conv2d | nn.Linear)
        made = _mask(layer.output_classes, kept).to(module.weight)
        weight = module.weight.data * made.view(-1, *(1,) * (module.weight.ndim - 1))
        if not layer.depthwise:  # which makes what it reads
            columns = layer.input_classes[: len(layer.input_classes) // layer.groups]
            weight = weight * _mask(columns, kept).to(weight).view(1, -1, *(1,) * (weight.ndim - 2))
        module.weight = nn.Parameter(weight)
        if module.bias is not None:
            module.bias = nn.Parameter(module.bias.data * made)


class WithoutBlocks(fx.Interpreter):
    """Runs the whole network with the branches of some blocks times zero, or, in a chain, with what they were given.

    Every value that was computed is kept, so that a block finds what it was given.
    """

    def __init__(self, model: fx.GraphModule, blocks: Collection[Block]) -> None:
        super().__init__(model, garbage_collect_values=False)
        self.blocks = {block.target: block for block in blocks}

    def run_node(self, n: fx.Node) -> Any:
        block = self.blocks.get(n.name)
        if block is None:
            return super().run_node(n)
        given = next(self.env[node] for node in self.env if node.name == block.source)
        operands = [self.env[node] for node in n.all_input_nodes]
        if len(operands) == 1:
            return given
        branch = next(operand for operand in operands if operand is not given)
        return given + 0.0 * branch


def masked(built: fx.GraphModule, context: CompressionContext, candidate: Candidate) -> fx.GraphModule:
    """What `apply` built of a candidate with every channel of the original network again, those removed being zero.

    Codes, scales, biases and quantisers are those of `built`, so that its outputs are too; shapes are those of the
    network that was traced, and so are the same for all candidates. ValueError when `built` is not the candidate's.
    """
    graph, kept = context.graph, context.resolve(candidate).kept
    model = copy.deepcopy(built)
    for layer in graph.layers:
        _widen_layer(model.get_submodule(layer.name), context.model.get_submodule(layer.name), layer, kept)
    whole = {node.name: node for node in context.model.graph.nodes}
    nodes = {node.name: node for node in model.graph.nodes}
    for index_map in graph.index_maps:
        if index_map.node not in nodes:
            continue  # a batch norm that was folded
        node, original = nodes[index_map.node], whole[index_map.node]
        if node.op == "call_module":
            places = _mask(index_map.classes, kept)
            narrow, wide = (m.get_submodule(str(node.target)) for m in (model, context.model))
            replace_module(model, str(node.target), _widened(narrow, wide, places))
        else:
            node.args = (node.args[0], *original.args[1:])
            node.kwargs = {**node.kwargs, **{k: v for k, v in original.kwargs.items() if k == "pad"}}
    model.recompile()
    return model.eval()


def _widen_layer(module: nn.Module, original: nn.Module, layer: Layer, kept: frozenset[int]) -> None:
    """Put the codes, scales and biases of what is left of a layer into tensors of its original shape, in place."""
    assert isinstance(module, nn.Conv2d | nn.Linear)
    assert isinstance(original, nn.Conv2d | nn.Linear)
    rows = _mask(layer.output_classes, kept).nonzero()[:, 0]
    classes = layer.input_classes[: len(layer.input_classes) // layer.groups]
    columns = torch.arange(1) if layer.depthwise else _mask(classes, kept).nonzero()[:, 0]
    narrow = module.get_buffer("weight_codes")
    if narrow.shape[:2] != (len(rows), len(columns)):
        raise ValueError(f"layer {layer.name!r} has {tuple(narrow.shape[:2])} filters and inputs, not this candidate's")
    codes = narrow.new_zeros(original.weight.shape)
    codes[rows[:, None], columns[None, :]] = narrow
    scale = torch.ones(len(codes), device=narrow.device).index_put((rows,), module.get_buffer("weight_scale"))
    for name, buffer in list(module.named_buffers(recurse=False)):
        if name == "bias_codes":
            module.register_buffer(name, buffer.new_zeros(len(codes)).index_put((rows,), buffer))
    if module.bias is not None:
        bias = module.bias.data.new_zeros(len(codes)).index_put((rows,), module.bias.data)
        module.bias = nn.Parameter(bias, requires_grad=False)
    attach_codes(module, codes, scale)
    if isinstance(module, nn.Conv2d) and isinstance(original, nn.Conv2d):
        module.in_channels, module.out_channels = original.in_channels, original.out_channels
        module.groups = original.groups
    elif isinstance(module, nn.Linear) and isinstance(original, nn.Linear):
        module.in_features, module.out_features = original.in_features, original.out_features


def _widened(narrow: nn.Module, original: nn.Module, places: torch.Tensor) -> nn.Module:
    """The original module with the tensors of `narrow` at `places` of it."""
    wide = copy.deepcopy(original)
    for key, tensor in narrow.state_dict().items():
        target = wide.state_dict()[key]
        if target.is_floating_point() and target.ndim == 1:  # of each channel; an index is as it was
            target[places.to(target.device)] = tensor.to(target)
    return wide


def _mask(classes: tuple[int, ...], kept: frozenset[int]) -> torch.Tensor:
    return torch.tensor([identity in kept for identity in classes])

"""Find the residual blocks of a network, and its layers between equal shapes, and remove them."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn

from explorer.graph.functional import ACTIVATIONS
from explorer.graph.layers import Block, Layer, ModelGraph
from explorer.graph.modules import BatchNorm
from explorer.graph.names import Names

_SUMS = {operator.add, operator.iadd, torch.add, "add", "add_"}
_BEHIND: tuple[Any, ...] = (
    BatchNorm,
    nn.PReLU,
    *(factory for factory in ACTIVATIONS.values() if isinstance(factory, type)),
)
"""What follows a layer and belongs to it."""


def find_blocks(model: fx.GraphModule, graph: ModelGraph) -> tuple[Block, ...]:
    """Return the blocks of a canonical network whose shapes were propagated, in the order of computation.

    A residual block ends in an addition (He et al., 2016): one operand, the skip, is what the other, the branch, is
    computed from. Where the skip pads, strides or projects, shapes differ on both sides, and the block is locked. A
    layer with a norm or an activation outside of residual blocks is a block by itself where it alone reads a tensor,
    and makes one of its shape.
    """
    flow = _Flow.of(model)
    targets = {str(node.target): node for node in model.graph.nodes if node.op == "call_module"}
    layer_at = {targets[layer.name]: layer for layer in graph.layers}
    names = Names()
    found: list[tuple[int, Block]] = []
    inside: set[str] = set()
    for node in model.graph.nodes:
        for block, own in _residual(node, flow, layer_at):
            found.append((flow.place[node], replace(block, name=names.free(block.name))))
            inside.update(block.layers, own)
    for node in layer_at:
        if (chained := _chained(node, layer_at, model, inside)) is not None:
            found.append((flow.place[node], replace(chained, name=names.free(chained.name))))
            inside.update(chained.layers)
    blocks = [block for _, block in sorted(found, key=lambda entry: entry[0])]
    return tuple(_settled(block, blocks, graph) for block in blocks)


def remove_blocks(model: fx.GraphModule, graph: ModelGraph, removed: Collection[str]) -> None:
    """Remove blocks from a canonical network, in place: their additions give what their skips give.

    What follows an addition stays, but for an activation that changes nothing, since the skip has had the same.
    """
    nodes = {node.name: node for node in model.graph.nodes}
    for block in reversed(graph.blocks):  # of two in a row, what the second goes back to is itself replaced after it
        if block.name in removed:
            source, users = nodes[block.source], list(nodes[block.target].users)
            nodes[block.target].replace_all_uses_with(source)
            for user in users:
                if _clips(model, user) is not None and _clips(model, user) is _clips(model, source):
                    user.replace_all_uses_with(source)
    model.graph.eliminate_dead_code()
    model.graph.lint()
    model.delete_all_unused_submodules()
    model.recompile()


def find_end(model: fx.GraphModule, node: fx.Node) -> fx.Node:
    """Return the last of the norms and activations that alone read a node, or the node where none does."""
    while len(node.users) == 1:
        (user,) = node.users
        if user.op != "call_module" or not isinstance(model.get_submodule(str(user.target)), _BEHIND):
            break
        node = user
    return node


def _clips(model: fx.GraphModule, node: fx.Node) -> type[nn.Module] | None:
    """Return the kind of an activation that does nothing the second time, None for any other node."""
    module = model.get_submodule(str(node.target)) if node.op == "call_module" else None
    return type(module) if isinstance(module, nn.ReLU | nn.ReLU6) else None


@dataclass(frozen=True, slots=True)
class _Flow:
    """For every node its place in the order of computation, and all nodes that it is computed from, itself included."""

    place: dict[fx.Node, int]
    before: dict[fx.Node, frozenset[fx.Node]]

    @classmethod
    def of(cls, model: fx.GraphModule) -> _Flow:
        before: dict[fx.Node, frozenset[fx.Node]] = {}
        for node in model.graph.nodes:
            before[node] = frozenset([node]).union(*(before[source] for source in node.all_input_nodes))
        return cls({node: place for place, node in enumerate(model.graph.nodes)}, before)

    def between(self, source: fx.Node, target: fx.Node) -> set[fx.Node]:
        """Return the nodes on the way from one to the other, `target` included."""
        return {node for node in self.before[target] if node is not source and source in self.before[node]}


def _residual(node: fx.Node, flow: _Flow, layer_at: dict[fx.Node, Layer]) -> list[tuple[Block, tuple[str, ...]]]:
    """Return the block that ends in an addition, if any does, with the names of the layers of its skip."""
    operands = [operand for operand in node.args if isinstance(operand, fx.Node)]
    plain = node.op in {"call_function", "call_method"} and node.target in _SUMS and not node.kwargs
    if not plain or len(node.args) != 2 or len(set(operands)) != 2:
        return []
    if any(operand.op == "get_attr" or operand.meta["shape"] != node.meta["shape"] for operand in operands):
        return []
    skip, branch = sorted(operands, key=lambda operand: flow.place[operand])
    if skip in flow.before[branch]:
        inside = flow.between(skip, branch)
        layers = _layers(inside, layer_at)
        locked = _open(inside, skip, node)
        return [(_block(layers, skip, node, locked, _others(layer_at, layers)), ())] if layers else []
    # A skip that changes the shape: it has at most one layer, and fewer than the branch.
    common = flow.before[skip] & flow.before[branch]
    sides = [(_layers(flow.before[side] - common, layer_at), side) for side in (skip, branch)]
    (own, skip), (layers, _) = sorted(sides, key=lambda side: len(side[0]))
    if not any(each.op != "get_attr" for each in common) or len(own) > 1 or len(own) == len(layers):
        return []
    reason = f"its skip is a layer of its own, {own[0]!r}" if own else "its skip pads or strides"
    locked = f"{reason}, since it does not give the shape that it is given"
    return [(_block(layers, skip, node, locked, _others(layer_at, (*layers, *own))), tuple(own))]


def _chained(
    node: fx.Node, layer_at: dict[fx.Node, Layer], model: fx.GraphModule, inside: Collection[str]
) -> Block | None:
    """Return a layer with its norm and activation as a block, where it makes the shape that it alone reads.

    A depthwise convolution is one with the layer behind it.
    """
    source, layers, target = node.all_input_nodes[0], [layer_at[node]], find_end(model, node)
    if layers[0].depthwise:
        (user,) = target.users if len(target.users) == 1 else (None,)
        behind = layer_at.get(user) if user is not None else None
        if behind is None or behind.depthwise or user is None:
            return None
        layers, target = [*layers, behind], find_end(model, user)
    if source.meta["shape"] != target.meta["shape"] or len(source.users) != 1 or target is node:
        return None
    names = [layer.name for layer in layers]
    if not set(names).isdisjoint(inside):
        return None
    locked = "it reads the network's input" if source.op == "placeholder" else ""
    if any(user.op == "output" for user in target.users):
        locked = "it makes the network's output"
    name = names[0] if len(names) == 1 else _name(names, target, _others(layer_at, names))
    return Block(name=name, layers=tuple(names), source=source.name, target=target.name, locked=locked)


def _layers(nodes: Collection[fx.Node], layer_at: dict[fx.Node, Layer]) -> list[str]:
    """Return the names of the layers among some nodes, in the order of computation."""
    return [layer.name for node, layer in layer_at.items() if node in nodes]


def _open(inside: set[fx.Node], skip: fx.Node, end: fx.Node) -> str:
    """Return why a branch cannot go: it reads, or is read by, something else than its ends; empty where it can."""
    for node in sorted(inside, key=lambda each: each.name):
        for source in node.all_input_nodes:
            given = source.op != "get_attr" and source.meta["shape"] is not None
            if given and source not in inside and source is not skip:
                return f"its branch reads {source.name!r} as well"
        for user in node.users:
            if user not in inside and user is not end:
                return f"{user.name!r} reads what is inside of its branch as well"
    return ""


def _block(layers: Sequence[str], skip: fx.Node, end: fx.Node, locked: str, others: Sequence[str]) -> Block:
    name = _name(layers, end, others)
    return Block(name=name, layers=tuple(layers), source=skip.name, target=end.name, locked=locked)


def _others(layer_at: dict[fx.Node, Layer], own: Collection[str]) -> list[str]:
    return [layer.name for layer in layer_at.values() if layer.name not in own]


def _name(layers: Sequence[str], end: fx.Node, others: Sequence[str]) -> str:
    """Return the path of the module that adds, or the longest common one, that holds these layers and no others."""
    levels = zip(*(name.split(".")[:-1] for name in layers), strict=False)
    common = ".".join(level[0] for level in itertools.takewhile(lambda level: len(set(level)) == 1, levels))
    for module in (next(reversed(end.meta.get("nn_module_stack", {})), ""), common):
        within = [name.startswith(f"{module}.") for name in layers]
        if module and all(within) and not any(name.startswith(f"{module}.") for name in others):
            return str(module)
    return layers[0] if len(layers) == 1 else f"{layers[0]} to {layers[-1]}"


def _settled(block: Block, blocks: Sequence[Block], graph: ModelGraph) -> Block:
    """Lock a block that holds another, or whose layers share their weights."""
    if block.locked:
        return block
    own = set(block.layers)
    for other in blocks:
        if other is not block and not other.locked and set(other.layers) < own:
            return replace(block, locked=f"it holds the block {other.name!r}")
    for layer in graph.layers:
        if layer.shares_weights and {layer.name, layer.shares_weights} & own:
            return replace(block, locked=f"layers {layer.shares_weights!r} and {layer.name!r} share their weights")
    return block

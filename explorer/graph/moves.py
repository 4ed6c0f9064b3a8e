"""Chains of reshapes, permutations and slices that do no more than select channels, flatten or add axes of size 1."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from explorer.graph.functional import replace_by_module
from explorer.graph.modules import SelectChannels
from explorer.graph.names import add_module

_METHODS = {
    *("view", "reshape", "flatten", "unflatten", "permute", "transpose", "swapaxes", "movedim", "squeeze", "unsqueeze"),
    *("chunk", "split", "tensor_split", "unbind", "narrow", "select", "index_select", "repeat", "repeat_interleave"),
    *("contiguous", "flip", "roll", "t", "expand", "view_as", "reshape_as"),
}
_FUNCTIONS = {
    *(torch.reshape, torch.flatten, torch.unflatten, torch.permute, torch.transpose, torch.swapaxes, torch.movedim),
    *(torch.squeeze, torch.unsqueeze, torch.chunk, torch.split, torch.tensor_split, torch.unbind, torch.narrow),
    *(torch.select, torch.index_select, torch.repeat_interleave, torch.flip, torch.roll, torch.channel_shuffle),
    operator.getitem,
}
_EXPANSIONS = {"expand", "expand_as"}
_ARITHMETIC: set[object] = {
    *(operator.add, operator.sub, operator.mul, operator.truediv, torch.add, torch.sub, torch.mul, torch.div),
    *("add", "sub", "mul", "div"),
}
_MODULES = (nn.Flatten, nn.Unflatten, nn.ChannelShuffle)


def simplify_moves(graph_module: fx.GraphModule) -> None:
    """Replace, in place, every chain that only selects channels by what it does, without sizes written into it.

    Each element of a chain's source gets a number, and the chain is run on the numbers: where its result turns out
    to be the channels of the source in another order, or their positions as features, the chain becomes
    `SelectChannels`, `nn.Flatten`, `nn.Unflatten` or an unsqueeze. Then channels can be removed. Chains that
    mix channels with positions or images stay as they are. Needs the shapes that `propagate_shapes` noted.
    """
    _list_parts(graph_module)
    chains = _Chains(graph_module)
    for node in list(graph_module.graph.nodes):
        if chains.moves(node):
            chains.run(node)
    for node, numbers in list(chains.numbers.items()):
        used = any(user not in chains.numbers or user in chains.sources for user in node.users)
        if used and isinstance(numbers, torch.Tensor) and node not in chains.sources:
            _rewrite(graph_module, node, chains.source_of[node], numbers)
    for node in list(graph_module.graph.nodes):
        _settle(graph_module, node)
        _settle_size(node)
    graph_module.graph.eliminate_dead_code()


def _list_parts(graph_module: fx.GraphModule) -> None:
    """Let a concatenation of all parts that a split gives name each of them."""
    for node in graph_module.graph.nodes:
        parts = node.args[0] if node.op == "call_function" and node.args else None
        if node.target not in {torch.cat, torch.concat, torch.concatenate} or not isinstance(parts, fx.Node):
            continue
        with graph_module.graph.inserting_before(node):
            listed = [
                graph_module.graph.call_function(operator.getitem, (parts, i)) for i in range(len(parts.meta["value"]))
            ]
        for part, value in zip(listed, parts.meta["value"], strict=True):
            part.meta = {"shape": tuple(value.shape), "value": None, "line": parts.meta.get("line", "")}
        node.args = (listed, *node.args[1:])


def _settle(graph_module: fx.GraphModule, node: fx.Node) -> None:
    """Free a node that stayed from the layout of its operand in memory, and from sizes of positions."""
    if node.op not in {"call_function", "call_method"}:
        return  # a module, parameter or argument may be called like a method
    if node.target == "view":
        node.target = "reshape"
    elif node.target == "contiguous" or (
        node.target in _EXPANSIONS and all(_expands(node, user) for user in node.users)
    ):
        node.replace_all_uses_with(node.all_input_nodes[0])
        graph_module.graph.erase_node(node)
    elif node.target is F.pad:
        node.args = tuple(fx.node.map_arg(entry, _number) for entry in node.args)
        node.kwargs = {key: fx.node.map_arg(entry, _number) for key, entry in node.kwargs.items()}


def _number(node: fx.Node) -> Any:
    """Return the value of a node that stands for a size, or the node itself."""
    return node if node.meta["shape"] is not None else node.meta["value"]


def _expands(node: fx.Node, reader: fx.Node) -> bool:
    """Return whether `reader` expands what it reads by itself, to the size of another operand."""
    others = [other for other in reader.all_input_nodes if other is not node and other.target not in _EXPANSIONS]
    called = reader.op in {"call_function", "call_method"}
    return called and reader.target in _ARITHMETIC and reader.meta["shape"] in [other.meta["shape"] for other in others]


def _settle_size(node: fx.Node) -> None:
    """Write a number that comes from sizes, and not from that of the batch, into what reads it.

    The pruned network computes with the number of channels that the model has.
    """
    value = node.meta["value"]
    if isinstance(value, int | float) and _fixed(node):
        for user in list(node.users):
            user.args, user.kwargs = fx.node.map_arg(
                (user.args, user.kwargs), lambda entry: value if entry is node else entry
            )


def _fixed(node: fx.Node) -> bool:
    """Return whether a number, or every size of a tuple, is the same for batches of any size."""
    axis = node.kwargs.get("dim", node.args[1] if node.target == "size" and len(node.args) == 2 else None)
    if node.target == "size" and isinstance(axis, int):
        return axis % len(node.all_input_nodes[0].meta["shape"]) != 0
    if node.target is operator.getitem:
        source, index = node.args
        known = isinstance(source, fx.Node) and isinstance(source.meta["value"], torch.Size)
        if not known or len(node.all_input_nodes) > 1 or (isinstance(index, slice) and index.step is not None):
            return False
        places = range(len(source.meta["value"]))[index]  # type: ignore[union-attr, index]
        return _fixed(source) or 0 not in (places if isinstance(places, range) else (places,))  # type: ignore[arg-type]
    sources = node.all_input_nodes
    return bool(sources) and all(source.meta["shape"] is None and _fixed(source) for source in sources)


class _Chains:
    """The numbered elements of every tensor in a chain, and the tensor that the chain starts from."""

    def __init__(self, graph_module: fx.GraphModule) -> None:
        self.model = graph_module
        self.numbers: dict[fx.Node, Any] = {}
        self.source_of: dict[fx.Node, fx.Node] = {}
        self.sources: set[fx.Node] = set()

    def moves(self, node: fx.Node) -> bool:
        """Return whether a node moves elements of one tensor and does nothing else."""
        if node.op == "call_module":
            return isinstance(self.model.get_submodule(str(node.target)), _MODULES)
        if not node.args or not isinstance(node.args[0], fx.Node):
            return False
        source = node.args[0]
        if source.meta["shape"] is None and source not in self.numbers:
            return False  # a size, or a tuple of tensors that no move has made
        if node.op == "call_method":
            return node.target in _METHODS
        return node.op == "call_function" and node.target in _FUNCTIONS

    def run(self, node: fx.Node) -> None:
        """Run a move on the numbers of what it reads; a move that cannot be run starts no chain."""
        source = node.all_input_nodes[0]
        if any(entry.meta["shape"] is not None for entry in node.all_input_nodes if entry is not source):
            return  # an index that is a tensor, for one
        fresh = source not in self.numbers
        if fresh:
            shape = source.meta["shape"]
            self.numbers[source] = torch.arange(torch.Size(shape).numel(), dtype=torch.float64).reshape(shape)
            self.source_of[source] = source
            self.sources.add(source)

        def value(entry: fx.Node) -> Any:
            return self.numbers[entry] if entry is source else entry.meta["value"]

        args, kwargs = fx.node.map_arg((node.args, node.kwargs), value)
        target: Callable[..., Any]
        try:
            if node.op == "call_module":
                result = self.model.get_submodule(str(node.target))(*args, **kwargs)
            elif node.op == "call_method":
                result = getattr(args[0], str(node.target))(*args[1:], **kwargs)
            else:
                target = node.target  # type: ignore[assignment]
                result = target(*args, **kwargs)
        except (RuntimeError, TypeError, AttributeError, IndexError):
            return
        self.numbers[node] = result
        self.source_of[node] = self.source_of[source]


def _rewrite(model: fx.GraphModule, node: fx.Node, source: fx.Node, numbers: torch.Tensor) -> None:
    """Put the simplest form of what moves the elements of `source` to `node` in its place."""
    before, after = tuple(source.meta["shape"]), tuple(numbers.shape)
    if numbers.numel() == 0 or after[0] != before[0] or len(before) < 2 or len(after) < 2:
        return
    original = torch.arange(torch.Size(before).numel(), dtype=torch.float64).reshape(before)
    if _all_positions(numbers, original):
        _put(model, node, source, _channel_index(numbers, original), before[1])
    elif len(after) == 2 and len(before) > 2:
        _flatten_and_select(model, node, source, numbers, original)
    elif len(before) == 2 and len(after) == 4 and torch.equal(numbers.flatten(1), original):
        replace_by_module(model, node, nn.Unflatten(1, (-1, *after[2:])), (source,))
    elif len(before) == 4 and len(after) == 3 and torch.equal(numbers, original.flatten(2)):
        replace_by_module(model, node, nn.Flatten(2), (source,))


def _all_positions(numbers: torch.Tensor, original: torch.Tensor) -> bool:
    """Return whether channel i of the result is some whole channel of the original, for every i and image."""
    if numbers.shape[2:] != original.shape[2:]:
        return False
    index = _channel_index(numbers, original)
    return bool((index >= 0).all()) and torch.equal(original[:, index], numbers)


def _channel_index(numbers: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
    """Return the channel of the original that the first element of each channel of the first image comes from."""
    size = max(1, int(torch.Size(original.shape[2:]).numel()))
    first = numbers[0].reshape(numbers.shape[1], -1)[:, 0]
    index = torch.div(first, size, rounding_mode="floor").long()
    return torch.where(index < original.shape[1], index, torch.full_like(index, -1))


def _flatten_and_select(
    model: fx.GraphModule, node: fx.Node, source: fx.Node, numbers: torch.Tensor, original: torch.Tensor
) -> None:
    features = original.flatten(1)
    index = numbers[0].long()
    if bool((index >= features.shape[1]).any()) or not torch.equal(features[:, index], numbers):
        return
    with model.graph.inserting_before(node):
        flat = model.graph.call_module(add_module(model, f"{node.name}_flat", nn.Flatten(1)), (source,))
    flat.meta = dict(source.meta)
    _put(model, node, flat, index, features.shape[1])


def _put(model: fx.GraphModule, node: fx.Node, source: fx.Node, index: torch.Tensor, channels: int) -> None:
    """Let what reads `node` read `source` with its channels selected, or `source` itself where all stay in order."""
    if index.tolist() == list(range(channels)):
        node.replace_all_uses_with(source)
    else:
        replace_by_module(model, node, SelectChannels(index.tolist()), (source,))

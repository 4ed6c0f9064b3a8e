"""Everyday spellings as the one that has rules: maxima, sums, zeros, products, conversions that convert nothing."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import fx, nn

from explorer.graph.functional import replace_by_module
from explorer.graph.symbolic import constants

_KEEPING: set[object] = {
    *("to", "type", "type_as", "float", "double", "half", "cpu", "cuda", "clone", "detach", "requires_grad_"),
    *(torch.clone, torch.detach),
}
"""What changes no value where the type and the device stay."""
_MEAN: set[object] = {torch.mean, "mean"}
_SUM: set[object] = {torch.sum, "sum"}
_LARGEST: set[object] = {torch.amax, "amax"}
_SMALLEST: set[object] = {torch.amin, "amin"}
_FAMILIES = (_MEAN, _SUM, _LARGEST, _SMALLEST)
_OF_PAIRS = {torch.max: torch.amax, "max": torch.amax, torch.min: torch.amin, "min": torch.amin}
"""What gives values and their places along one axis, and the function of the values alone."""
_CONCATENATIONS: set[object] = {torch.cat, torch.concat, torch.concatenate}
_ALONG_AXES: set[object] = {
    *(_MEAN | _SUM | _LARGEST | _SMALLEST | _CONCATENATIONS | set(_OF_PAIRS)),
    *(torch.softmax, "softmax", torch.log_softmax, "log_softmax", torch.stack),
}
_OF_NUMPY = {"axis": "dim", "keepdims": "keepdim"}
"""Names of arguments that torch takes beside its own."""
_ZEROS: set[object] = {torch.zeros, torch.zeros_like, "new_zeros"}
_FILLED: set[object] = {torch.full, torch.full_like, "new_full"}
_PRODUCTS: set[object] = {operator.mul, torch.mul, "mul"}
_SUMS: set[object] = {operator.add, torch.add, "add", operator.sub, torch.sub, "sub"}
_LARGER: set[object] = {torch.max, "max", torch.maximum, "maximum"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reduction:
    """A function of the elements along some axes, all counted from the first."""

    source: fx.Node
    axes: tuple[int, ...]
    keep: bool


def settle_spellings(graph_module: fx.GraphModule) -> None:
    """Write what has several spellings in the one that other parts have rules for, in place. Needs shapes.

    The values of a maximum along an axis become `amax`, two reductions behind each other one, a sum over positions a
    mean times their number, a concatenation with zeros `F.pad`, a maximum with zeros `F.relu`, `narrow` a slice.
    """
    graph = graph_module.graph
    for node in list(graph.nodes):
        if _changes_nothing(node):
            _replace(node, node.all_input_nodes[0])
        elif node.target in _ALONG_AXES:
            node.kwargs = {_OF_NUMPY.get(name, name): value for name, value in node.kwargs.items()}
    for node in list(graph.nodes):
        _values_alone(graph, node)
    graph.eliminate_dead_code()
    for node in list(graph.nodes):
        _join(node)
    calls = [node for node in graph.nodes if node.op in {"call_function", "call_method"}]  # a layer may be called "neg"
    for node in calls:
        if node.target in _SUM | _MEAN:
            _write_mean(graph, node)
        elif node.target in _CONCATENATIONS:
            _pad_with_zeros(graph, node)
        elif node.target in _SUMS | _LARGER:
            _beside_zeros(graph, node)
        elif node.target in {torch.narrow, "narrow"} and len(node.args) == 4:
            source, *numbers = node.args
            axis, start, length = (int(constants(number)) for number in numbers)
            axis %= len(source.meta["shape"])
            start %= source.meta["shape"][axis]
            index = (*[slice(None)] * axis, slice(start, start + length))
            _replace(node, _call(graph, node, operator.getitem, source, index))
        elif node.target in {operator.neg, torch.neg, "neg"}:
            node.op, node.target, node.args, node.kwargs = (
                "call_function",
                operator.mul,
                (*node.all_input_nodes, -1),
                {},
            )
        elif node.target in {torch.clip, "clip"}:
            node.target = torch.clamp if node.op == "call_function" else "clamp"


def maxima_to_pools(graph_module: fx.GraphModule) -> None:
    """Write the maximum or minimum over all positions as a pooling, in place. Needs shapes, and moves simplified."""
    graph = graph_module.graph
    for node in list(graph.nodes):
        found = _reduction(node) if node.target in _LARGEST | _SMALLEST else None
        if found is None or found.axes != tuple(range(2, len(found.source.meta["shape"]))):
            continue
        source, rank = found.source, len(node.meta["shape"])
        module = graph_module.get_submodule(str(source.target)) if source.op == "call_module" else None
        if isinstance(module, nn.Flatten) and module.start_dim == 2:
            source = source.all_input_nodes[0]
        if len(source.meta["shape"]) != 4:
            continue
        smallest = node.target in _SMALLEST
        with graph.inserting_before(node):
            read = _call(graph, node, operator.mul, source, -1) if smallest else source
            pooled = graph.call_function(torch.amax, (read,))
            pooled.meta = dict(node.meta)
            given = graph.call_function(torch.flatten, (pooled,)) if rank < 4 else pooled
            given.meta = dict(node.meta)
            given = _call(graph, node, operator.mul, given, -1) if smallest else given
        _replace(node, given)
        flat = next(iter(pooled.users)) if rank < 4 else None
        replaced = replace_by_module(graph_module, pooled, nn.AdaptiveMaxPool2d(1), (read,))
        if flat is not None:
            replace_by_module(graph_module, flat, nn.Flatten(rank - 1), (replaced,))


def _replace(node: fx.Node, other: fx.Node) -> None:
    node.replace_all_uses_with(other)
    node.graph.erase_node(node)


def _call(graph: fx.Graph, like: fx.Node, function: object, *args: object) -> fx.Node:
    """Return a call just before the node `like`, with what is noted of that one."""
    with graph.inserting_before(like):
        made = graph.call_function(function, args)  # type: ignore[arg-type]
    made.meta = dict(like.meta)
    return made


def _changes_nothing(node: fx.Node) -> bool:
    if node.op not in {"call_function", "call_method"} or not node.all_input_nodes:
        return False
    data = node.target is getattr and node.args[1] == "data"
    source = node.all_input_nodes[0]
    same = all(node.meta[key] == source.meta[key] for key in ("shape", "type"))
    return (data or node.target in _KEEPING) and node.meta["shape"] is not None and same


def _reduction(node: fx.Node) -> _Reduction | None:
    """Return the axes of a reduction that names them, of a tensor that holds fractions; None for any other."""
    if node.op not in {"call_function", "call_method"} or node.kwargs.get("dtype") is not None:
        return None
    source = node.all_input_nodes[0] if node.all_input_nodes else None
    rest = node.args[1:] if node.args else ()
    axes = constants(node.kwargs.get("dim", rest[0] if rest else None))
    keep = node.kwargs.get("keepdim", rest[1] if len(rest) > 1 else False)
    listed = (axes,) if isinstance(axes, int) else axes
    if source is None or source.meta["shape"] is None or source.meta["codes"]:
        return None
    if not isinstance(listed, Sequence) or not listed:
        return None
    if not all(isinstance(axis, int) for axis in listed):
        return None
    rank = len(source.meta["shape"])
    return _Reduction(source=source, axes=tuple(sorted(axis % rank for axis in listed)), keep=bool(keep))


def _values_alone(graph: fx.Graph, node: fx.Node) -> None:
    """Let what reads the values of `max` or `min` along an axis read `amax` or `amin`."""
    function, found = _OF_PAIRS.get(node.target), _reduction(node)
    if function is None or found is None or node.meta["shape"] is not None:
        return
    for reader in list(node.users):
        picked = reader.target is operator.getitem and reader.args[1] == 0
        if picked or (reader.target is getattr and reader.args[1] == "values"):
            _replace(reader, _call(graph, reader, function, found.source, found.axes, found.keep))


def _join(node: fx.Node) -> None:
    """Write a reduction of columns and then of rows as one of positions."""
    family = next((targets for targets in _FAMILIES if node.target in targets), None)
    last = _reduction(node) if family is not None else None
    if family is None or last is None or last.source.target not in family or len(last.source.users) > 1:
        return
    first = _reduction(last.source)
    if first is None or len(first.source.meta["shape"]) != 4 or first.keep != last.keep:
        return
    axes = (first.axes, last.axes)
    if axes == ((3,), (2,)) or (axes == ((2,), (2,)) and not last.keep) or (axes == ((2,), (3,)) and last.keep):
        node.args, node.kwargs = (first.source, (2, 3)), {"keepdim": last.keep}


def _write_mean(graph: fx.Graph, node: fx.Node) -> None:
    found = _reduction(node)
    if found is None:
        return
    source, axes = found.source, found.axes
    order = _permutation(source)
    if order is not None and tuple(order[axis] for axis in range(4) if axis not in axes) == (0, 1):
        source, axes = source.all_input_nodes[0], (2, 3)  # of an image with channels last
    if axes != tuple(range(2, len(source.meta["shape"]))) or (found.keep and source is not found.source):
        return
    if node.target in _SUM:
        mean = _call(graph, node, torch.mean, source, axes, found.keep)
        _replace(node, _call(graph, node, operator.mul, mean, torch.Size(source.meta["shape"][2:]).numel()))
    elif source is not found.source:
        node.args, node.kwargs = (source, axes), {"keepdim": found.keep}


def _permutation(node: fx.Node) -> tuple[int, ...] | None:
    """Return the order of the four axes that `permute` gives an image, None for any other node."""
    if node.target not in {torch.permute, "permute"} or len(node.args) < 2 or len(node.meta["shape"]) != 4:
        return None
    listed = node.args[1] if isinstance(node.args[1], list | tuple) else node.args[1:]
    return tuple(axis % 4 for axis in listed if isinstance(axis, int))


def _converts(node: fx.Node) -> bool:
    """Return whether a call gives another type of number than one of the tensors that it reads, or no fractions."""
    types = {node.meta["type"], *(source.meta["type"] for source in node.all_input_nodes)}
    return len(types) > 1 or node.meta["codes"]


def _is_zeros(node: object) -> bool:
    """Return whether a node gives nothing but zeros, whatever the input."""
    if not isinstance(node, fx.Node) or node.op not in {"call_function", "call_method"}:
        return False
    filled = node.target in _FILLED and constants(node.kwargs.get("fill_value", [None, *node.args][-1])) == 0
    return node.target in _ZEROS or filled


def _is_nothing(part: object) -> bool:
    """Return whether a part of a concatenation is zeros, or a tensor that is multiplied by 0 to be some."""
    factors = part.args if isinstance(part, fx.Node) and part.target in _PRODUCTS else ()
    return _is_zeros(part) or any(isinstance(factor, int | float) and factor == 0 for factor in factors)


def _pad_with_zeros(graph: fx.Graph, node: fx.Node) -> None:
    """Let the parts beside channels of zeros be padded with them."""
    parts = node.kwargs.get("tensors", node.args[0] if node.args else None)
    axis = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
    rank = len(node.meta["shape"])
    if not isinstance(parts, Sequence) or axis not in {1, 1 - rank} or _converts(node):
        return
    if not any(map(_is_nothing, parts)):
        return
    padded: list[tuple[fx.Node, list[int]]] = []
    leading = 0
    for part in parts:
        channels = part.meta["shape"][1]  # type: ignore[union-attr]
        if not _is_nothing(part):
            padded.append((part, [leading, 0]))  # type: ignore[arg-type]
        elif padded:
            padded[-1][1][1] += channels
        else:
            leading += channels
    if not padded:
        return
    made = []
    for part, around in padded:
        width = (*[0] * (2 * (rank - 2)), *around)
        made.append(_call(graph, node, F.pad, part, width) if any(around) else part)
        count = part.meta["shape"][1] + sum(around)
        made[-1].meta |= {"shape": (*part.meta["shape"][:1], count, *part.meta["shape"][2:])}
    _replace(node, made[0] if len(made) == 1 else _call(graph, node, torch.cat, made, 1))


def _beside_zeros(graph: fx.Graph, node: fx.Node) -> None:
    """Drop zeros that are added, and write the larger of zero and a tensor as a ReLU."""
    if len(node.args) != 2 or node.kwargs or node.meta["shape"] is None or _converts(node):
        return
    first, second = node.args
    zeros, other = (second, first) if _is_zeros(second) else (first, second)
    if not _is_zeros(zeros) or not isinstance(other, fx.Node) or other.meta["shape"] != node.meta["shape"]:
        return
    if node.target in _LARGER:
        _replace(node, _call(graph, node, F.relu, other))
    elif zeros is second or node.target in {operator.add, torch.add, "add"}:
        _replace(node, other)

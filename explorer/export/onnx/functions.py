"""How the functions and methods of a canonical network are written as ONNX."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import fx

from explorer.export.onnx.builder import OnnxBuilder, refuse
from explorer.graph.traced import get_shape

SLICE_END = np.iinfo(np.int64).max
"""End of a slice that runs to the end of its axis."""


def write_function(builder: OnnxBuilder, node: fx.Node) -> str:
    """Write what a function or tensor method computes at `node`; returns the name of the result.

    Raises:
        ExportError: For a function without a rule, and for one that acts across the images of a batch.
    """
    rule = _RULES.get(node.target)
    if rule is None:
        known = "sums, products, quotients, torch.cat, mean over axes, F.pad and strided slices"
        raise refuse(node, "there is no rule for it", f"rewrite the model with {known}, or with torch.nn modules")
    return rule(builder, node)


def _write_addition(builder: OnnxBuilder, node: fx.Node) -> str:
    if node.kwargs.get("alpha", 1) != 1:
        raise refuse(node, "alpha scales one summand", "multiply before adding")
    return _write_join(builder, node, "Add")


def _write_difference(builder: OnnxBuilder, node: fx.Node) -> str:
    if node.kwargs.get("alpha", 1) != 1:
        raise refuse(node, "alpha scales what is subtracted", "multiply before subtracting")
    return _write_join(builder, node, "Sub")


def _write_quotient(builder: OnnxBuilder, node: fx.Node) -> str:
    if node.kwargs.get("rounding_mode") is not None:
        raise refuse(node, "it rounds the quotient", "divide without rounding_mode")
    return _write_join(builder, node, "Div")


def _write_product(builder: OnnxBuilder, node: fx.Node) -> str:
    return _write_join(builder, node, "Mul")


def _write_join(builder: OnnxBuilder, node: fx.Node, onnx_operator: str) -> str:
    operands = []
    for position, key in enumerate(("input", "other")):
        operand = _argument(node, position, key, None)
        if isinstance(operand, fx.Node) and operand in builder.values:
            operands.append(builder.values[operand])
        elif isinstance(operand, int | float):
            operands.append(builder.constant(f"{builder.name(node)}/operand", operand))
        else:
            raise refuse(node, f"its operand is {operand!r}", "use two tensors, or a tensor and a number")
    return builder.node(onnx_operator, operands, builder.name(node))


def _write_mean(builder: OnnxBuilder, node: fx.Node) -> str:
    dimensions = _argument(node, 1, "dim", None)
    if dimensions is None or node.kwargs.get("dtype") is not None:
        raise refuse(node, "it averages over all axes or changes the type", "give the axes, without dtype")
    rank = len(get_shape(node.all_input_nodes[0]))
    listed = (dimensions,) if isinstance(dimensions, int) else tuple(dimensions)
    axes = [_axis(node, dimension, rank) for dimension in listed]
    axes_name = builder.constant(f"{builder.name(node)}/axes", axes, np.int64)
    keep = int(bool(_argument(node, 2, "keepdim", False)))
    return builder.node("ReduceMean", (builder.source(node), axes_name), builder.name(node), keepdims=keep)


def _write_concatenation(builder: OnnxBuilder, node: fx.Node) -> str:
    parts = _argument(node, 0, "tensors", ())
    axis = _axis(node, _argument(node, 1, "dim", 0), len(get_shape(node)))
    return builder.node("Concat", [builder.values[part] for part in parts], builder.name(node), axis=axis)


def _write_padding(builder: OnnxBuilder, node: fx.Node) -> str:
    if _argument(node, 2, "mode", "constant") != "constant":
        raise refuse(node, "it does not pad with a constant", "use mode='constant'")
    padding = [int(entry) for entry in _argument(node, 1, "pad", ())]
    rank = len(get_shape(node))
    if len(padding) > 2 * (rank - 1):
        raise refuse(node, "it pads the batch axis", "pad the other axes only")
    begins, ends = [0] * rank, [0] * rank
    for reach in range(len(padding) // 2):  # torch lists the last axis first
        begins[rank - 1 - reach], ends[rank - 1 - reach] = padding[2 * reach : 2 * reach + 2]
    pads = builder.constant(f"{builder.name(node)}/pads", begins + ends, np.int64)
    value = builder.constant(f"{builder.name(node)}/value", _argument(node, 3, "value", None) or 0.0)
    return builder.node("Pad", (builder.source(node), pads, value), builder.name(node))


def _write_slice(builder: OnnxBuilder, node: fx.Node) -> str:
    entries = _slices(node, len(get_shape(node.all_input_nodes[0])))
    narrowed = [(axis, entry) for axis, entry in enumerate(entries) if entry != slice(None)]
    if any(axis == 0 for axis, _ in narrowed):
        raise refuse(node, "it slices the batch axis", "slice the other axes only")
    lists = {
        "starts": [0 if entry.start is None else entry.start for _, entry in narrowed],
        "ends": [SLICE_END if entry.stop is None else entry.stop for _, entry in narrowed],
        "axes": [axis for axis, _ in narrowed],
        "steps": [1 if entry.step is None else entry.step for _, entry in narrowed],
    }
    names = [builder.constant(f"{builder.name(node)}/{key}", values, np.int64) for key, values in lists.items()]
    return builder.node("Slice", (builder.source(node), *names), builder.name(node))


def _slices(node: fx.Node, rank: int) -> list[slice]:
    """Return one slice for each axis, an ellipsis written out; a full slice reads slice(None)."""
    index = _constants(node.args[1])
    listed = list(index) if isinstance(index, tuple) else [index]
    if not all(entry is Ellipsis or isinstance(entry, slice) for entry in listed):
        raise refuse(node, f"its index is {index!r}", "index with slices only")
    if Ellipsis in listed:
        place = listed.index(Ellipsis)
        listed[place : place + 1] = [slice(None)] * (rank - len(listed) + 1)
    return listed + [slice(None)] * (rank - len(listed))


def _argument(node: fx.Node, position: int, key: str, default: Any) -> Any:
    """Return an argument given by position or by keyword, with sizes that the graph computes as numbers."""
    given = node.args[position] if len(node.args) > position else node.kwargs.get(key, default)
    return _constants(given)


def _constants(argument: Any) -> Any:
    """Return an argument with every node that gives no tensor replaced by the value that it had."""

    def value(entry: fx.Node) -> Any:
        return entry if entry.meta["shape"] is not None else entry.meta["value"]

    return fx.node.map_arg(argument, value)


def _axis(node: fx.Node, dimension: int, rank: int) -> int:
    axis = dimension % rank
    if axis == 0:
        raise refuse(node, "it acts on the batch axis", "act on the other axes only")
    return axis


_RULES: dict[object, Callable[[OnnxBuilder, fx.Node], str]] = {
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_"), _write_addition),
    **dict.fromkeys((operator.sub, operator.isub, torch.sub, "sub", "sub_"), _write_difference),
    **dict.fromkeys((operator.truediv, operator.itruediv, torch.div, "div", "div_"), _write_quotient),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, "mul", "mul_"), _write_product),
    **dict.fromkeys((torch.mean, "mean"), _write_mean),
    **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), _write_concatenation),
    F.pad: _write_padding,
    operator.getitem: _write_slice,
}
"""Function, or name of a tensor method, to the rule that writes it."""

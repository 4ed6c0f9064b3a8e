"""Rewrite operations that change their operand so that they return a new tensor instead."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

_OUT_OF_PLACE: dict[object, Callable[..., Any]] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}

_FLAGGED = {"relu", "relu6", "leaky_relu", "elu", "silu", "hardswish", "hardsigmoid", "hardtanh", "mish"}
"""Functions that take the in-place flag by position as well."""


def work_out_of_place(graph_module: fx.GraphModule) -> None:
    """Let every operation return a new tensor, and what reads its operand afterwards read that one.

    A tensor that shares its memory with the operand (a view) still holds the old values: the caller compares
    the logits. Functions keep an `inplace` argument, which makes no difference once nothing reads the operand.
    """
    position = {node: index for index, node in enumerate(graph_module.graph.nodes)}
    for node in list(graph_module.graph.nodes):
        if not node.all_input_nodes or not _works_in_place(graph_module, node):
            continue
        name = str(node.target).removesuffix("_")
        if node.op == "call_method" and callable(getattr(torch.Tensor, name, None)):
            node.target = name
        elif node.op == "call_function":
            node.target = _OUT_OF_PLACE.get(node.target, node.target)
        node.all_input_nodes[0].replace_all_uses_with(
            node, delete_user_cb=lambda user, changed=node: position[user] > position[changed]
        )
    for module in graph_module.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]


def _works_in_place(graph_module: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return getattr(graph_module.get_submodule(str(node.target)), "inplace", False) is True
    if node.op == "call_method":
        return str(node.target).endswith("_") and not str(node.target).endswith("__")
    if node.op == "call_function":
        name = str(getattr(node.target, "__name__", ""))
        torch_name = name.endswith("_") and getattr(node.target, "__module__", "") != "_operator"
        flagged = name in _FLAGGED and any(argument is True for argument in node.args[1:])
        return node.target in _OUT_OF_PLACE or torch_name or flagged or node.kwargs.get("inplace") is True
    return False

"""Functional calls of a traced network as modules: activations, poolings, dropout, and layers with their weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from explorer.errors import ModelError
from explorer.graph.lines import find_line
from explorer.graph.modules import TransposedConv2d, get_attribute
from explorer.graph.names import add_module, find_free_name, replace_module
from explorer.graph.symbolic import constants
from explorer.graph.torch_private import list_output_padding

ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "hardsigmoid": nn.Hardsigmoid,
    "hardtanh": nn.Hardtanh,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "mish": nn.Mish,
}
"""Functional name (also with a trailing underscore, as method or function) to the module that does the same."""

POOLS: dict[str, Callable[..., nn.Module]] = {
    "max_pool2d": nn.MaxPool2d,
    "avg_pool2d": nn.AvgPool2d,
    "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d,
    "adaptive_max_pool2d": nn.AdaptiveMaxPool2d,
}

_OTHERS: dict[str, Callable[..., nn.Module]] = {
    "pixel_shuffle": nn.PixelShuffle,
    "interpolate": nn.Upsample,
    "upsample": nn.Upsample,
}
_POOL_ARGUMENTS = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
"""Order of F.max_pool2d's arguments after the input, which is not that of nn.MaxPool2d."""
_KEYWORDS_DROPPED = {"inplace", "input", "antialias"}
_BOOLEAN_DISPATCH: dict[object, str] = {
    F.max_pool2d: "max_pool2d",
    F.adaptive_max_pool2d: "adaptive_max_pool2d",
}
"""Functions whose own name does not tell what they do."""
_DROPOUTS = {"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"}
_MODULES = {**ACTIVATIONS, **POOLS, **_OTHERS}


def functions_to_modules(graph_module: fx.GraphModule) -> None:
    """Replace, in place, every call of a function that torch.nn has a module for; dropout vanishes.

    Raises:
        ModelError: For dropout that is always active.
    """
    for node in list(graph_module.graph.nodes):
        name = _functional_name(node)
        if not name:
            continue
        source = node.args[0] if node.args else node.kwargs.get("input")
        if name in _DROPOUTS:
            _refuse_active_dropout(node)
            node.replace_all_uses_with(source)
            graph_module.graph.erase_node(node)
            continue
        keywords = {key: value for key, value in node.kwargs.items() if key not in _KEYWORDS_DROPPED}
        if name in {"clamp", "clamp_min"}:
            _clip(graph_module, node, source)
            continue
        positional = list(_activation_arguments(name, node) if name in ACTIVATIONS else node.args[1:])
        if name == "max_pool2d":
            keywords, positional = {**dict(zip(_POOL_ARGUMENTS, positional, strict=False)), **keywords}, []
        positional = [constants(argument) for argument in positional]
        keywords = {key: constants(argument) for key, argument in keywords.items()}
        replace_by_module(graph_module, node, _MODULES[name](*positional, **keywords), (source,))


def modules_to_canonical(graph_module: fx.GraphModule) -> None:
    """Give transposed convolutions their weights with outputs first, and paddings with zeros the form of F.pad."""
    for node in list(graph_module.graph.nodes):
        module = graph_module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, nn.ConvTranspose2d) and type(module) is nn.ConvTranspose2d:
            _transpose(graph_module, node, module)
        elif isinstance(module, nn.ZeroPad2d) or (isinstance(module, nn.ConstantPad2d) and module.value == 0):
            with graph_module.graph.inserting_after(node):
                padded = graph_module.graph.call_function(F.pad, (node.args[0], tuple(module.padding)))
            padded.meta = dict(node.meta)
            node.replace_all_uses_with(padded)
            graph_module.graph.erase_node(node)


def _transpose(graph_module: fx.GraphModule, node: fx.Node, module: nn.ConvTranspose2d) -> None:
    """Replace a transposed convolution, with the output size that this call asks for."""
    made = TransposedConv2d.of(module)
    size = constants(node.kwargs.get("output_size", node.args[1] if len(node.args) > 1 else None))
    if size is not None:
        source = torch.empty(node.args[0].meta["shape"], device="meta")  # type: ignore[union-attr]
        made.output_padding = list_output_padding(module, source, size)
    users = [each for each in graph_module.graph.nodes if each.op == "call_module" and each.target == node.target]
    if len(users) == 1:
        replace_module(graph_module, str(node.target), made)
        node.args, node.kwargs = (node.args[0],), {}
    else:
        replace_by_module(graph_module, node, made, (node.args[0],))  # its weights are then its own


def fold_constants(graph_module: fx.GraphModule) -> None:
    """Replace, in place, what is computed from parameters and numbers alone by its value."""
    values: dict[fx.Node, Any] = {}
    for node in list(graph_module.graph.nodes):
        if node.op == "get_attr":
            values[node] = get_attribute(graph_module, str(node.target))
        elif node.op in {"call_function", "call_method"} and node.all_input_nodes:
            if not all(source in values for source in node.all_input_nodes):
                continue
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            with torch.no_grad():
                if node.op == "call_method":
                    values[node] = getattr(args[0], str(node.target))(*args[1:], **kwargs)
                else:
                    values[node] = node.target(*args, **kwargs)
    for node in list(graph_module.graph.nodes):
        read = any(user not in values for user in node.users)
        if node.op == "get_attr" or not read or not isinstance(values.get(node), torch.Tensor):
            continue
        name = find_free_name(f"{node.name}_constant", graph_module)
        graph_module.register_buffer(name, values[node].detach().clone())
        with graph_module.graph.inserting_before(node):
            constant = graph_module.graph.get_attr(name)
        constant.meta = dict(node.meta)
        node.replace_all_uses_with(constant)


def replace_by_module(
    graph_module: fx.GraphModule, node: fx.Node, module: nn.Module, arguments: tuple[object, ...]
) -> fx.Node:
    """Put a call of a new module in the place of a node; returns it."""
    name = add_module(graph_module, node.name, module)
    with graph_module.graph.inserting_after(node):
        replacement = graph_module.graph.call_module(name, arguments)  # type: ignore[arg-type]
    replacement.meta = dict(node.meta)
    node.replace_all_uses_with(replacement)
    graph_module.graph.erase_node(node)
    return replacement


def _functional_name(node: fx.Node) -> str:
    """Return the functional name that a call stands for, '' when it is none that becomes a module."""
    if node.op == "call_function":
        name = _BOOLEAN_DISPATCH.get(node.target) or str(getattr(node.target, "__name__", ""))
    elif node.op == "call_method":
        name = str(node.target)
    else:
        return ""
    name = name.removesuffix("_")
    return name if name in {*_MODULES, *_DROPOUTS, "clamp", "clamp_min"} else ""


def _activation_arguments(name: str, node: fx.Node) -> tuple[object, ...]:
    """Return positional arguments after the input that the module takes as well (the in-place flag is none)."""
    taken = {"leaky_relu": 1, "elu": 1, "hardtanh": 2, "softplus": 2}.get(name, 0)
    return tuple(node.args[1 : 1 + taken])


def _clip(graph_module: fx.GraphModule, node: fx.Node, source: Any) -> None:
    """Write a clamp between numbers as the activation function that it is; any other one stays a function."""
    given = {**dict(zip(("input", "min", "max"), node.args, strict=False)), **node.kwargs}
    low, high = constants(given.get("min")), constants(given.get("max"))
    if isinstance(low, int | float) and isinstance(high, int | float):
        replace_by_module(graph_module, node, nn.Hardtanh(low, high), (source,))
    elif low == 0 and high is None:
        replace_by_module(graph_module, node, nn.ReLU(), (source,))


def _refuse_active_dropout(node: fx.Node) -> None:
    training = node.kwargs.get("training", node.args[2] if len(node.args) > 2 else True)
    if training is True:
        raise ModelError(
            f"model: {node.name} calls dropout with training=True{find_line(node)}, so its logits are random; "
            "pass training=self.training"
        )

"""Layers that are called as functions with weights of the model, as modules."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from explorer.graph.functional import replace_by_module
from explorer.graph.modules import get_attribute
from explorer.graph.symbolic import constants


def layers_to_modules(graph_module: fx.GraphModule) -> None:
    """Replace, in place, convolutions, linear layers and batch norms that are called as functions by modules.

    Their weights must be parameters, or computed from parameters alone (`fold_constants` comes first). Parameters
    stay the same objects, so that a layer called twice still shares them.
    """
    for node in list(graph_module.graph.nodes):
        make = _LAYERS.get(node.target) if node.op in {"call_function", "call_method"} else None
        if make is None:
            continue
        try:
            given = _Arguments(graph_module, node)
            module = make(given)
        except LookupError:
            continue  # weights that depend on the input: the operation is kept as it is, and listed
        replace_by_module(graph_module, node, module.eval(), (given.source,))


def constants_to_norms(graph_module: fx.GraphModule) -> None:
    """Replace, in place, a gain or an offset of each channel by a batch norm that does the same.

    Learned scales of residual branches and normalisations of the input are written like this; a batch norm folds
    into the layer before it, and loses channels with it. A constant of one element becomes a number.
    """
    for node in list(graph_module.graph.nodes):
        kind = _ARITHMETIC.get(node.target) if node.op in {"call_function", "call_method"} else None
        if kind is None or len(node.args) != 2 or not all(isinstance(entry, fx.Node) for entry in node.args):
            continue
        if node.kwargs:
            continue  # another factor, or a way of rounding
        left, right = node.args
        if left.op == "get_attr" and kind in {"add", "mul"}:
            left, right = right, left
        if right.op != "get_attr" or left.op == "get_attr" or len(left.meta["shape"] or ()) not in {2, 4}:
            continue
        constant: torch.Tensor = get_attribute(graph_module, str(right.target)).detach()
        shape, rank = left.meta["shape"], len(left.meta["shape"])
        if constant.numel() == 1:
            node.args = tuple(float(constant) if entry is right else entry for entry in node.args)
        elif constant.numel() == shape[1] == (1, *constant.shape)[-(rank - 1) :][0] and constant.ndim >= rank - 1:
            constant = constant if constant.is_floating_point() else constant.float()
            replace_by_module(graph_module, node, _build_norm(kind, constant.flatten(), rank), (left,))


def _build_norm(kind: str, constant: torch.Tensor, rank: int) -> nn.Module:
    norm = (nn.BatchNorm2d if rank == 4 else nn.BatchNorm1d)(len(constant)).to(constant)
    assert norm.running_var is not None
    norm.running_var -= norm.eps  # with which it is 1 again
    if kind in {"mul", "div"}:
        norm.weight.data = constant if kind == "mul" else 1 / constant
    else:
        norm.bias.data = constant if kind == "add" else -constant
    return norm.eval()


class _Arguments:
    """The arguments of a call, by name; tensors among them must be parameters or buffers (LookupError)."""

    def __init__(self, root: nn.Module, node: fx.Node) -> None:
        names = _ARGUMENTS[node.target]
        self.root = root
        self.given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
        self.source: Any = self.given["input"]

    def tensor(self, name: str) -> torch.Tensor | None:
        node = self.given.get(name)
        if node is None:
            return None
        if not isinstance(node, fx.Node) or node.op != "get_attr":
            raise LookupError(name)
        value: torch.Tensor = get_attribute(self.root, str(node.target))
        return value

    def value(self, name: str, default: Any) -> Any:
        return constants(self.given.get(name, default))


def _convolution(given: _Arguments) -> nn.Module:
    weight, bias = given.tensor("weight"), given.tensor("bias")
    assert weight is not None
    groups = given.value("groups", 1)
    module = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        (weight.shape[2], weight.shape[3]),
        given.value("stride", 1),
        given.value("padding", 0),
        given.value("dilation", 1),
        groups,
        bias is not None,
        device="meta",
    )
    return _with(module, weight, bias)


def _transposed(given: _Arguments) -> nn.Module:
    weight, bias = given.tensor("weight"), given.tensor("bias")
    assert weight is not None
    groups = given.value("groups", 1)
    module = nn.ConvTranspose2d(
        weight.shape[0],
        weight.shape[1] * groups,
        (weight.shape[2], weight.shape[3]),
        given.value("stride", 1),
        given.value("padding", 0),
        given.value("output_padding", 0),
        groups,
        bias is not None,
        given.value("dilation", 1),
        device="meta",
    )
    return _with(module, weight, bias)


def _linear(given: _Arguments) -> nn.Module:
    weight, bias = given.tensor("weight"), given.tensor("bias")
    assert weight is not None
    return _with(nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta"), weight, bias)


def _product(given: _Arguments) -> nn.Module:
    """Return a matrix product with weights on the right: inputs x outputs."""
    weight, bias = given.tensor("weight"), given.tensor("bias")
    constant = not isinstance(given.source, fx.Node) or given.source.op == "get_attr"
    if constant or weight is None or weight.ndim != 2 or {"beta", "alpha"} & set(given.given):
        raise LookupError("another product")
    weight = weight.detach().t().contiguous()
    return _with(nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta"), weight, bias)


def _batch_norm(given: _Arguments) -> nn.Module:
    mean, variance = given.tensor("running_mean"), given.tensor("running_var")
    if given.value("training", False) or mean is None or variance is None:
        raise LookupError("statistics of the batch")
    weight, bias = given.tensor("weight"), given.tensor("bias")
    kind = nn.BatchNorm2d if len(given.source.meta["shape"]) == 4 else nn.BatchNorm1d
    module = _with(
        kind(len(mean), eps=given.value("eps", 1e-5), device="meta"),
        torch.ones_like(mean) if weight is None else weight,
        torch.zeros_like(mean) if bias is None else bias,
    )
    module.running_mean, module.running_var = mean, variance
    module.num_batches_tracked = torch.zeros((), dtype=torch.long)
    return module


def _with(module: Any, weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Module:
    """Return the module with these weights: the very parameters where they are some."""
    module.weight = weight if isinstance(weight, nn.Parameter) else nn.Parameter(weight)
    if bias is not None:
        module.bias = bias if isinstance(bias, nn.Parameter) else nn.Parameter(bias)
    made: nn.Module = module
    return made


_SPATIAL = ("input", "weight", "bias", "stride", "padding")
_MATRIX_PRODUCTS = (operator.matmul, torch.matmul, torch.mm, "matmul", "mm")
_ARGUMENTS: dict[object, tuple[str, ...]] = {
    **dict.fromkeys((F.conv2d, torch.conv2d), (*_SPATIAL, "dilation", "groups")),
    F.conv_transpose2d: (*_SPATIAL, "output_padding", "groups", "dilation"),
    F.linear: ("input", "weight", "bias"),
    **dict.fromkeys(_MATRIX_PRODUCTS, ("input", "weight")),
    torch.addmm: ("bias", "input", "weight"),
    F.batch_norm: ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
}
_LAYERS: dict[object, Callable[[_Arguments], nn.Module]] = {
    **dict.fromkeys((F.conv2d, torch.conv2d), _convolution),
    F.conv_transpose2d: _transposed,
    F.linear: _linear,
    **dict.fromkeys((*_MATRIX_PRODUCTS, torch.addmm), _product),
    F.batch_norm: _batch_norm,
}
_ARITHMETIC: dict[object, str] = {
    **dict.fromkeys((operator.add, torch.add, "add"), "add"),
    **dict.fromkeys((operator.sub, torch.sub, "sub"), "sub"),
    **dict.fromkeys((operator.mul, torch.mul, "mul"), "mul"),
    **dict.fromkeys((operator.truediv, torch.div, "div"), "div"),
}

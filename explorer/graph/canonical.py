"""Rewrite a network so that every nonlinearity is a module of its own, without changing what it computes."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.modules.dropout import _DropoutNd

from explorer.errors import ModelError
from explorer.graph.out_of_place import work_out_of_place

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

_POOL_ARGUMENTS = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
"""Order of F.max_pool2d's arguments after the input, which is not that of nn.MaxPool2d."""
_KEYWORDS_DROPPED = {"inplace"}
_BOOLEAN_DISPATCH: dict[object, str] = {
    F.max_pool2d: "max_pool2d",
    F.adaptive_max_pool2d: "adaptive_max_pool2d",
}
"""Functions whose own name does not tell what they do."""


def canonicalise(model: nn.Module, example: torch.Tensor) -> fx.GraphModule:
    """Return a canonical copy of `model` in evaluation mode; the user's model is not touched.

    Functional activations and poolings become modules, a module without parameters that is called several
    times is cloned for each call, nothing works in place, dropout and identities vanish, a reshape that
    flattens becomes `nn.Flatten`, and a filter whose batch norm has a negative gain changes sign with it.
    `example` is a batch of at least two images (N x C x H x W) on which the logits must stay bit-identical;
    ModelError otherwise, or when torch.fx cannot trace the model.
    """
    original = copy.deepcopy(model).eval()
    with torch.no_grad():
        expected = _call(original, example)
    graph_module = _trace(original)
    work_out_of_place(graph_module)
    propagate_shapes(graph_module, example)
    _functional_to_modules(graph_module)
    _clone_reused(graph_module)
    _drop_identities(graph_module)
    propagate_shapes(graph_module, example)
    _reshape_to_flatten(graph_module)
    _settle_norms(graph_module)
    graph_module.graph.eliminate_dead_code()
    graph_module.graph.lint()
    graph_module.delete_all_unused_submodules()
    graph_module.recompile()
    graph_module.eval()
    with torch.no_grad():
        received = graph_module(example)
    if not torch.equal(expected, received):
        delta = float((expected - received).abs().max())
        raise ModelError(
            f"model: the canonical copy gives other logits than the model (largest difference {delta:.3g}); "
            "a branch or a random operation in forward() that depends on the input cannot be explored"
        )
    return graph_module


def propagate_shapes(graph_module: fx.GraphModule, example: torch.Tensor) -> None:
    """Run `example` through the graph and note what each node gives.

    meta['shape'] is the shape of a tensor, or None; meta['value'] is what is not a tensor, such as a size.
    """

    class ShapeRecorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> object:
            result = super().run_node(n)
            n.meta["shape"] = tuple(result.shape) if isinstance(result, torch.Tensor) else None
            n.meta["value"] = None if isinstance(result, torch.Tensor) else result
            return result

    with torch.no_grad():
        ShapeRecorder(graph_module).run(example)


def _call(model: nn.Module, example: torch.Tensor) -> torch.Tensor:
    try:
        output = model(example.clone())  # forward() may work in place on its input
    except Exception as error:
        raise ModelError(
            f"model: forward() fails on images of shape {tuple(example.shape)} at {_last_line(error)}: {error}; "
            "check the model against the data set's image shape"
        ) from error
    if not isinstance(output, torch.Tensor) or output.ndim != 2 or output.shape[0] != example.shape[0]:
        received = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise ModelError(f"model: forward() must return logits of shape (N, classes), received {received}")
    if not bool(torch.isfinite(output).all()):
        raise ModelError("model: forward() returns NaN or infinite logits on images of the data set")
    return output


def _trace(model: nn.Module) -> fx.GraphModule:
    try:
        return fx.symbolic_trace(model)
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"model: torch.fx cannot trace {type(model).__name__} at {_last_line(error)}: {first}; "
            "rewrite that line without control flow that depends on the input"
        ) from error


def _last_line(error: BaseException) -> str:
    """File and line of the innermost frame outside torch: the user's own line."""
    torch_folder = str(Path(torch.__file__).parent)
    own = str(Path(__file__))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith((torch_folder, own, "<")):
            return f"{frame.filename}:{frame.lineno} ({frame.line})"
    return "an unknown line"


def _functional_name(node: fx.Node) -> str:
    """The functional name that a call stands for, '' when it is none that becomes a module."""
    if node.op == "call_function":
        name = _BOOLEAN_DISPATCH.get(node.target) or str(getattr(node.target, "__name__", ""))
    elif node.op == "call_method":
        name = str(node.target)
    else:
        return ""
    name = name.removesuffix("_")
    return name if name in ACTIVATIONS or name in POOLS or name in {"dropout", "dropout2d"} else ""


def _functional_to_modules(graph_module: fx.GraphModule) -> None:
    for node in list(graph_module.graph.nodes):
        name = _functional_name(node)
        if not name:
            continue
        source = node.args[0] if node.args else node.kwargs.get("input")
        if name.startswith("dropout"):
            _refuse_active_dropout(node)
            node.replace_all_uses_with(source)
            graph_module.graph.erase_node(node)
            continue
        keywords = {k: v for k, v in node.kwargs.items() if k not in _KEYWORDS_DROPPED and k != "input"}
        positional = list(node.args[1:] if name in POOLS else _activation_arguments(name, node))
        if name == "max_pool2d":
            keywords, positional = {**dict(zip(_POOL_ARGUMENTS, positional, strict=False)), **keywords}, []
        positional = [_constant(argument) for argument in positional]
        keywords = {key: _constant(argument) for key, argument in keywords.items()}
        module = ({**ACTIVATIONS, **POOLS})[name](*positional, **keywords)
        _replace_by_module(graph_module, node, module, (source,))


def _activation_arguments(name: str, node: fx.Node) -> tuple[object, ...]:
    """Positional arguments after the input that the module takes as well (the in-place flag is none)."""
    taken = {"leaky_relu": 1, "elu": 1, "hardtanh": 2, "softplus": 2}.get(name, 0)
    return tuple(node.args[1 : 1 + taken])


def _constant(argument: Any) -> Any:
    """An argument with every size that the graph computes replaced by its value."""
    return fx.node.map_arg(argument, lambda node: node.meta["value"])


def _refuse_active_dropout(node: fx.Node) -> None:
    training = node.kwargs.get("training", node.args[2] if len(node.args) > 2 else True)
    if training is True:
        raise ModelError(
            f"model: {node.name} calls dropout with training=True, so its logits are random; "
            "pass training=self.training"
        )


def _replace_by_module(
    graph_module: fx.GraphModule, node: fx.Node, module: nn.Module, arguments: tuple[object, ...]
) -> None:
    name = _free_name(graph_module, node.name)
    graph_module.add_submodule(name, module)
    with graph_module.graph.inserting_after(node):
        replacement = graph_module.graph.call_module(name, arguments)  # type: ignore[arg-type]
    node.replace_all_uses_with(replacement)
    graph_module.graph.erase_node(node)


def _free_name(graph_module: fx.GraphModule, wanted: str) -> str:
    taken = {name for name, _ in graph_module.named_modules(remove_duplicate=False)}
    name, number = wanted, 2
    while name in taken or hasattr(graph_module, name):
        name, number = f"{wanted}_{number}", number + 1
    return name


def _clone_reused(graph_module: fx.GraphModule) -> None:
    seen: dict[int, str] = {}
    owners: dict[int, str] = {}
    for node in list(graph_module.graph.nodes):
        if node.op != "call_module":
            continue
        module = graph_module.get_submodule(node.target)
        if id(module) not in seen:
            seen[id(module)] = node.target
            _refuse_tied(module, node.target, owners)
            continue
        if any(True for _ in module.parameters()) or any(True for _ in module.buffers()):
            raise ModelError(
                f"model: layer {node.target!r} is called more than once with the same weights; "
                "shared layers cannot be explored yet: give each call a layer of its own"
            )
        name = _free_name(graph_module, f"{node.target.replace('.', '_')}_call")
        graph_module.add_submodule(name, copy.deepcopy(module))
        node.target = name


def _refuse_tied(module: nn.Module, path: str, owners: dict[int, str]) -> None:
    for parameter in module.parameters():
        owner = owners.setdefault(id(parameter), path)
        if owner != path:
            raise ModelError(
                f"model: layers {owner!r} and {path!r} share the same weights; "
                "shared layers cannot be explored yet: give each layer weights of its own"
            )


def _drop_identities(graph_module: fx.GraphModule) -> None:
    for node in list(graph_module.graph.nodes):
        if node.op == "call_module":
            module = graph_module.get_submodule(node.target)
            drop = isinstance(module, nn.Identity | _DropoutNd) or (
                isinstance(module, nn.Sequential) and len(module) == 0
            )
        else:
            drop = node.op == "call_method" and node.target in {"contiguous", "clone"}
        if drop:
            node.replace_all_uses_with(node.args[0])
            graph_module.graph.erase_node(node)


def _reshape_to_flatten(graph_module: fx.GraphModule) -> None:
    for node in list(graph_module.graph.nodes):
        is_reshape = (node.op == "call_method" and node.target in {"view", "reshape", "flatten"}) or (
            node.op == "call_function" and node.target in {torch.flatten, torch.reshape}
        )
        source = node.args[0] if node.args else None
        if not is_reshape or not isinstance(source, fx.Node):
            continue
        before, after = source.meta["shape"], node.meta["shape"]
        flattens = before is not None and len(after) == 2 and after[0] == before[0]
        if flattens and after[1] == int(torch.tensor(before[1:]).prod()):
            _replace_by_module(graph_module, node, nn.Flatten(1), (source,))


def _settle_norms(graph_module: fx.GraphModule) -> None:
    """Refuse batch norms without statistics; turn filters so that the gain of the norm behind them is positive.

    A norm folds into scales, which are positive: a negative gain would negate the codes of some filters only,
    and a codebook that all filters share would then hold up to twice its values.
    """
    for node in graph_module.graph.nodes:
        norm = graph_module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            continue
        if norm.running_mean is None:
            raise ModelError(
                f"model: batch norm {node.target!r} keeps no running statistics, so that its logits depend on the "
                "other images of a batch; use track_running_stats=True"
            )
        source = node.all_input_nodes[0]
        layer = graph_module.get_submodule(str(source.target)) if source.op == "call_module" else None
        if norm.affine and isinstance(layer, nn.Conv2d | nn.Linear) and len(source.users) == 1:
            sign = torch.where(norm.weight.data < 0, -1.0, 1.0).to(norm.weight.data)
            norm.weight.data *= sign
            norm.running_mean *= sign
            layer.weight.data *= sign.view(-1, *(1,) * (layer.weight.ndim - 1))
            if layer.bias is not None:
                layer.bias.data *= sign

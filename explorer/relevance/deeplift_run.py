"""Run a canonical network on images and on their references at once, every nonlinearity under DeepLIFT's rules."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from explorer.graph.functional import ACTIVATIONS
from explorer.graph.lines import describe
from explorer.graph.symbolic import gives_tensors
from explorer.relevance.deeplift_rules import apply_softmax, max_pool, multiply, normalise, rescale

ELEMENTWISE_MODULES = (
    *(kind for kind in ACTIVATIONS.values() if isinstance(kind, type)),
    *(nn.PReLU, nn.CELU, nn.SELU, nn.Softsign, nn.Softshrink, nn.Hardshrink, nn.Tanhshrink),
    *(nn.LogSigmoid, nn.Threshold),
)
ELEMENTWISE = frozenset(
    {
        *("abs", "square", "sqrt", "rsqrt", "reciprocal", "exp", "expm1", "log", "log1p", "pow", "sin", "cos", "erf"),
        *("round", "floor", "ceil", "sign", "clamp", "clip", "clamp_min", "clamp_max", "threshold", "prelu"),
        *(*ACTIVATIONS, "logsigmoid", "softsign", "celu", "selu", "hardshrink", "softshrink", "tanhshrink"),
    }
)
"""Functions and methods of one tensor's single elements, by name; further operands are numbers or constants."""
PRODUCTS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mul": torch.mul,
    "matmul": torch.matmul,
    "bmm": torch.bmm,
    "multiply": torch.mul,
}
QUOTIENTS = frozenset({"truediv", "div", "divide", "true_divide"})
LARGER: Mapping[str, int] = {"maximum": 1, "minimum": -1, "max": 1, "min": -1}
LARGEST: Mapping[str, int] = {"amax": 1, "amin": -1}
MOVES = frozenset(
    {
        *("cat", "concat", "concatenate", "stack", "chunk", "split", "tensor_split", "unbind", "getitem", "narrow"),
        *("flatten", "unflatten", "view", "reshape", "permute", "transpose", "swapaxes", "movedim", "squeeze", "t"),
        *("unsqueeze", "contiguous", "expand", "expand_as", "repeat", "tile", "select", "index_select", "flip", "roll"),
        *("pad", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "clone", "to", "float", "double"),
    }
)
"""Functions and methods that give elements of their operand, by name."""
_LINEAR = frozenset(
    {
        *(*MOVES, "mean", "sum", "avg_pool2d", "adaptive_avg_pool2d", "interpolate", "neg", "rsub", "getattr"),
        *("add", "iadd", "sub", "isub", "subtract", "linear", "conv2d", "conv_transpose2d", "batch_norm", "einsum"),
        *("zeros_like", "new_zeros", "unfold", "fold", "dropout"),
    }
)
_OTHERS = frozenset({"softmax", "log_softmax", "layer_norm"})
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d)


@dataclass(frozen=True, slots=True, eq=False)
class Paired:
    """A tensor that depends on the images, and the same on their references."""

    x: Tensor
    reference: Tensor


@dataclass(slots=True, eq=False)
class Watched:
    """What each watched module read and gave, in the pass that the multipliers are derived along."""

    read: dict[str, Tensor] = field(default_factory=dict)
    given: dict[str, Paired] = field(default_factory=dict)


class PairedRun(fx.Interpreter):
    """One forward pass over `Paired`s; afterwards `watched` has what the modules of these names read and gave.

    What a watched module reads is an alias of its own, so that a derivative by it counts that module alone.
    """

    def __init__(self, model: fx.GraphModule, names: Collection[str]) -> None:
        super().__init__(model)
        self.names = frozenset(names)
        self.watched = Watched()

    def run_node(self, n: fx.Node) -> Any:
        """Return the value of a node: a Pair where it depends on the images."""
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        if n.op in {"placeholder", "get_attr", "output"}:
            return getattr(self, n.op)(n.target, args, kwargs)
        if n.op == "call_module":
            return self._module(str(n.target), args, kwargs)
        if not _pairs_in(args, kwargs):
            return getattr(self, n.op)(n.target, args, kwargs)
        return _function(n, args, kwargs)

    def _module(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        module = self.fetch_attr(name)
        if not _pairs_in(args, kwargs):
            return module(*args, **kwargs)
        if name in self.names:
            alias = args[0].x.view_as(args[0].x)
            self.watched.read[name] = alias
            args = (Paired(alias, args[0].reference), *args[1:])
        given = _by_module(module, args, kwargs)
        if name in self.names:
            self.watched.given[name] = given
        return given


def find_missing_rules(model: fx.GraphModule) -> tuple[str, ...]:
    """Return what has no rule: modules as "path (kind)", functions as "torch.sort at net.py, line 9"."""
    known = (*ELEMENTWISE_MODULES, *NORMS, *_AFFINE, nn.MaxPool2d, nn.AdaptiveMaxPool2d, nn.Softmax, nn.Softmax2d)
    calls = [(str(n.target), model.get_submodule(str(n.target))) for n in model.graph.nodes if n.op == "call_module"]
    ours = "explorer.graph.modules"
    functions = tuple(
        describe(n)
        for n in model.graph.nodes
        if n.op in {"call_function", "call_method"} and _name(n) not in _KNOWN and gives_tensors(n)
    )
    return functions + tuple(
        f"{path} ({type(module).__name__})"
        for path, module in calls
        if not isinstance(module, known) and type(module).__module__ != ours
    )


def _name(node: fx.Node) -> str:
    """Return the plain name of a function or method, whether it works in place or not."""
    name = str(node.target if node.op == "call_method" else getattr(node.target, "__name__", node.target))
    return name.strip("_") if name.startswith("__") else name.rstrip("_")


_KNOWN = frozenset({*_LINEAR, *_OTHERS, *ELEMENTWISE, *PRODUCTS, *QUOTIENTS, *LARGER, *LARGEST})
_AFFINE: tuple[type[nn.Module], ...] = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d),
    *(nn.AdaptiveAvgPool2d, nn.Flatten, nn.Unflatten, nn.Identity, nn.PixelShuffle, nn.PixelUnshuffle, nn.Upsample),
    *(nn.ZeroPad2d, nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d, nn.ChannelShuffle, nn.Dropout),
)
"""What is linear but for a constant, once the network is in evaluation mode."""


def _by_module(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    first = args[0] if args else None
    if isinstance(first, Paired):
        if isinstance(module, ELEMENTWISE_MODULES):
            return Paired(*rescale(module, first.x, first.reference))
        if isinstance(module, nn.MaxPool2d | nn.AdaptiveMaxPool2d):
            return Paired(*max_pool(module, first.x, first.reference))
        if isinstance(module, nn.Softmax | nn.Softmax2d):
            axis = 1 if isinstance(module, nn.Softmax2d) or module.dim is None else module.dim
            return Paired(*apply_softmax(first.x, first.reference, axis))
        if isinstance(module, NORMS) and not getattr(module, "track_running_stats", False):
            return _norm(module, first)
    return _both(module, args, kwargs)


def _norm(module: nn.Module, pair: Paired) -> Paired:
    x, reference = pair.x, pair.reference
    if isinstance(module, nn.LayerNorm):
        axes = tuple(range(x.ndim - len(module.normalized_shape), x.ndim))
        normal = normalise(x, reference, axes, module.eps)
        return Paired(*(_scaled(each, module.weight, module.bias) for each in normal))
    assert isinstance(module, nn.GroupNorm | nn.InstanceNorm1d | nn.InstanceNorm2d)
    groups = module.num_groups if isinstance(module, nn.GroupNorm) else x.shape[1]
    grouped = [each.reshape(len(each), groups, -1) for each in (x, reference)]
    normal = normalise(grouped[0], grouped[1], (2,), module.eps)
    shape = (-1, *(1,) * (x.ndim - 2))
    weight, bias = (None if each is None else each.view(shape) for each in (module.weight, module.bias))
    return Paired(*(_scaled(each.view_as(x), weight, bias) for each in normal))


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    scaled = x if weight is None else x * weight
    return scaled if bias is None else scaled + bias


def _function(node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return a function or method with at least one Pair among its arguments."""
    if node.op == "call_method":
        method = str(node.target)
        function: Callable[..., Any] = lambda x, *more, **named: getattr(x, method)(*more, **named)  # noqa: E731
    else:
        function = node.target  # type: ignore[assignment]
    name = _name(node)
    pairs = _pairs_in(args, kwargs)
    first = args[0] if args else None
    if len(pairs) == 1 and isinstance(first, Paired):
        if name in ELEMENTWISE:
            return Paired(*rescale(lambda x: function(x, *args[1:], **kwargs), first.x, first.reference))
        if name in {"softmax", "log_softmax"}:
            axis = kwargs.get("dim", args[1] if len(args) > 1 else -1)
            given = apply_softmax(first.x, first.reference, axis)
            return Paired(*(rescale(torch.log, *given) if name == "log_softmax" else given))
        if name in LARGEST:
            return _largest(LARGEST[name], first, *args[1:], **kwargs)
        if name == "layer_norm":
            return Paired(*_layer_norm(first, *args[1:], **kwargs))
    if len(pairs) == 2 and len(args) >= 2:
        found = _of_two(name, args[0], args[1])
        if found is not None:
            return found
    if name in QUOTIENTS and isinstance(args[1], Paired):
        before = torch.as_tensor(args[0]).to(args[1].x)
        parts = rescale(torch.reciprocal, args[1].x, args[1].reference)
        return Paired(before * parts[0], before * parts[1])
    return _both(function, args, kwargs)


def _largest(sign: int, pair: Paired, dim: Any = (), keepdim: bool = False) -> Paired:
    """Return the largest elements along some axes, by the rule of max pooling; with sign -1 the smallest."""
    rank = pair.x.ndim
    axes = sorted(axis % rank for axis in ((dim,) if isinstance(dim, int) else dim or range(rank)))
    order = *(axis for axis in range(rank) if axis not in axes), *axes
    count = torch.Size([pair.x.shape[axis] for axis in axes]).numel()
    rows = [(sign * each).permute(order).reshape(1, -1, 1, count) for each in (pair.x, pair.reference)]
    pooled = max_pool(nn.AdaptiveMaxPool2d(1), *rows)
    shape = [1 if axis in axes else size for axis, size in enumerate(pair.x.shape) if keepdim or axis not in axes]
    return Paired(*(sign * each.reshape(shape) for each in pooled))


def _layer_norm(
    pair: Paired, shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> tuple[Tensor, ...]:
    axes = tuple(range(pair.x.ndim - len(shape), pair.x.ndim))
    return tuple(_scaled(each, weight, bias) for each in normalise(pair.x, pair.reference, axes, eps))


def _of_two(name: str, a: Any, b: Any) -> Paired | None:
    """Return a function of two tensors of the images; None where it is no product, quotient or maximum."""
    if name in PRODUCTS:
        product = PRODUCTS[name]
        with torch.no_grad():
            before = product(a.reference, b.reference)
        return Paired(multiply(a.x, b.x, a.reference, b.reference, product), before)
    if name in QUOTIENTS:
        parts = Paired(*rescale(torch.reciprocal, b.x, b.reference))
        return _of_two("mul", a, parts)
    if name in LARGER:  # max(a, b) = a + relu(b - a)
        sign = LARGER[name]
        more = rescale(nn.ReLU(), sign * (b.x - a.x), sign * (b.reference - a.reference))
        return Paired(a.x + sign * more[0], a.reference + sign * more[1])
    return None


def _both(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the function on the images and, without derivatives, on the references."""
    given = function(*_side(args, "x"), **_side(kwargs, "x"))
    with torch.no_grad():
        before = function(*_side(args, "reference"), **_side(kwargs, "reference"))
    return _paired(given, before)


def _paired(given: Any, before: Any) -> Any:
    if isinstance(given, Tensor):
        return Paired(given, before)
    if isinstance(given, tuple | list):
        return type(given)(_paired(a, b) for a, b in zip(given, before, strict=True))
    return given


def _side(value: Any, side: str) -> Any:
    if isinstance(value, Paired):
        return getattr(value, side)
    if isinstance(value, tuple | list):
        return type(value)(_side(each, side) for each in value)
    return {key: _side(each, side) for key, each in value.items()} if isinstance(value, dict) else value


def _pairs_in(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Paired]:
    found: list[Paired] = []

    def look(value: Any) -> None:
        if isinstance(value, Paired):
            found.append(value)
        elif isinstance(value, tuple | list):
            for each in value:
                look(each)

    for value in (*args, *kwargs.values()):
        look(value)
    return found

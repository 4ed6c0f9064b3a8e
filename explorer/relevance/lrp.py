"""Layer-wise relevance propagation: the explained logit handed back from layer to layer until the filters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from explorer.errors import RelevanceError
from explorer.graph.lines import find_line, name_function
from explorer.graph.modules import BatchNorm, SelectChannels
from explorer.graph.torch_private import list_leaves
from explorer.progress import Progress
from explorer.relevance import deeplift_run
from explorer.relevance.activations import find_norm_after
from explorer.relevance.by_image import score_by_image
from explorer.relevance.deeplift_run import ELEMENTWISE, ELEMENTWISE_MODULES
from explorer.relevance.lrp_rules import divide, pass_on, run_average, run_layer, split_sum
from explorer.relevance.sample import Sample
from explorer.relevance.scores import Relevance

MOVING_MODULES = (
    *(nn.MaxPool2d, nn.AdaptiveMaxPool2d, nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout, SelectChannels),
    *(nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle),
    *(nn.ZeroPad2d, nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d),
)
"""Every element of the result is an element of the operand, or a constant: relevance goes where it came from."""
MOVES = frozenset({*deeplift_run.MOVES, "max", "amax", "min", "amin", "maximum", "minimum", "topk", "sort"})
"""The same of functions and methods, by name."""
AVERAGING_MODULES = (nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.Upsample)
AVERAGES = frozenset({"mean", "sum", "avg_pool2d", "adaptive_avg_pool2d", "interpolate"})
SUMS = frozenset({"add", "iadd", "sub", "isub", "subtract"})
PRODUCTS = frozenset({"mul", "imul", "multiply"})
BY_CONSTANTS = frozenset({*SUMS, *PRODUCTS, *ELEMENTWISE, "truediv", "div", "divide", "neg", "rsub"})
"""With constants beside one tensor, functions of its single elements."""


def lrp(sample: Sample, progress: Progress | None = None) -> Relevance:
    """Return LRP with the z+ rule of what the sample explains.

    On the network with its batch norms folded into the layers before them; a filter's relevance is that of its output
    there. Layers hand it on to positive products of inputs and weights, the first one, too: pixels have signs, and no
    filter depends on how they share. Means hand it to positive elements in proportion, poolings of maxima to the
    maximum; where a layer or a mean has nothing positive, the negative takes its place. Two operands of a sum share it
    by their positive parts, those of a product evenly. Functions of single elements, and norms that have no layer to
    fold into, pass it on. So the filters of a cut through the network add up to what is explained, but for what came
    from biases or constants alone. Kept for each image; nothing is said of weights and inputs. In units of the logits.

    Raises:
        RelevanceError: For an operation without a rule.

    Source:
        Bach et al., 2015; Montavon et al., 2017.
    """
    return score_by_image(replace(sample, model=fold_all_norms(sample.model)), "lrp", _contributions, progress)


def fold_all_norms(model: fx.GraphModule) -> fx.GraphModule:
    """Return a copy in which every batch norm that alone reads a layer is part of that layer's weight and bias."""
    copied = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)
    for node in list(copied.graph.nodes):
        module = copied.get_submodule(str(node.target)) if node.op == "call_module" else None
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        while (found := find_norm_after(copied, node)) is not None:
            reader, norm = found
            _fold(module, norm)
            reader.replace_all_uses_with(node)
            copied.graph.erase_node(reader)
    copied.recompile()
    return copied


def propagate_relevance(sample: Sample) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
    """Return (by layer, of the shape of its output; of each input, of its shape) on a network without batch norms."""
    run = _Run(sample.model, sample.graph.layer_names)
    inputs = tuple(tensor.detach().requires_grad_() for tensor in sample.inputs)
    with torch.enable_grad():
        logits = run.run(*inputs)
        wanted = [*run.given.values(), *inputs]
        found = torch.autograd.grad(logits, wanted, (logits * sample.directions).detach(), allow_unused=True)
    filled = [torch.zeros_like(a) if r is None else r for r, a in zip(found, wanted, strict=True)]
    return dict(zip(run.given, filled, strict=False)), tuple(filled[len(run.given) :])


def _contributions(sample: Sample) -> Iterator[tuple[str, Tensor]]:
    yield from propagate_relevance(sample)[0].items()


def _fold(module: nn.Conv2d | nn.Linear, norm: BatchNorm) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = torch.rsqrt(norm.running_var + norm.eps)
    gain = gain if norm.weight is None else gain * norm.weight
    bias = -norm.running_mean if module.bias is None else module.bias - norm.running_mean
    offset = bias * gain if norm.bias is None else bias * gain + norm.bias
    weight = module.weight * gain.view(-1, *(1,) * (module.weight.ndim - 1))
    module.weight = nn.Parameter(weight.detach(), requires_grad=False)
    module.bias = nn.Parameter(offset.detach(), requires_grad=False)


class _Run(fx.Interpreter):
    """A forward pass whose backward pass hands on relevance in the place of gradients; what needs none is constant."""

    def __init__(self, model: fx.GraphModule, names: Collection[str]) -> None:
        super().__init__(model)
        self.extra_traceback = False  # which would make an error several lines
        self.names = frozenset(names)
        self.given: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Return the value of a node."""
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        if n.op in {"placeholder", "get_attr", "output"} or not _varying(args, kwargs):
            return getattr(self, n.op)(n.target, args, kwargs)
        if n.op != "call_module":
            return _by_function(n, args, kwargs)
        given = _by_module(n, self.fetch_attr(str(n.target)), args, kwargs)
        if n.target in self.names:
            self.given[str(n.target)] = given
        return given


def _by_module(node: fx.Node, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if isinstance(module, MOVING_MODULES):
        return module(*args, **kwargs)
    if len(args) == 1 and not kwargs:
        (x,) = args
        if isinstance(module, nn.Conv2d | nn.Linear):
            return run_layer(module, x)
        if isinstance(module, AVERAGING_MODULES):
            return run_average(module, x)
        if isinstance(module, (*ELEMENTWISE_MODULES, nn.BatchNorm1d, nn.BatchNorm2d)):
            return pass_on(x, module(x.detach()))
    raise _no_rule(node, f"{node.target} ({type(module).__name__})")


def _by_function(node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return a function or method of at least one tensor that depends on the images."""
    if node.op == "call_method":
        method = str(node.target)
        name, function = method.rstrip("_"), _method(method)
    else:
        name, function = str(getattr(node.target, "__name__", node.target)).strip("_"), node.target  # type: ignore[assignment]
    if name in MOVES:
        return function(*args, **kwargs)
    varying = _varying(args, kwargs)
    with torch.no_grad():
        given = function(*args, **kwargs)
    tensors = [each for each in list_leaves(given) if isinstance(each, Tensor)]
    if not any(each.is_floating_point() for each in tensors):
        return given  # a size, or a comparison
    if not isinstance(given, Tensor):
        raise _no_rule(node, name_function(node))
    (x, *others) = varying
    if not others and name in AVERAGES and args[0] is x:
        return run_average(lambda values: function(values, *args[1:], **kwargs), x)
    if not others and name in BY_CONSTANTS:
        return pass_on(x, given)
    if len(others) == 1 and name in SUMS:
        return divide(given, x, others[0], split_sum(given, x))
    if len(others) == 1 and name in PRODUCTS:
        return divide(given, x, others[0], torch.full_like(given, 0.5))
    raise _no_rule(node, name_function(node))


def _method(name: str) -> Callable[..., Any]:
    return lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs)


def _varying(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """Return the tensors among the arguments that depend on the images."""
    return [each for each in list_leaves((args, kwargs)) if isinstance(each, Tensor) and each.requires_grad]


def _no_rule(node: fx.Node, what: str) -> RelevanceError:
    return RelevanceError(
        f"relevance.method: lrp has no rule for {what}{find_line(node)}; choose another method, such as deeplift"
    )

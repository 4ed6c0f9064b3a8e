"""Integer-only inference (Conti, 2020; Jacob et al., 2018), derived from the network that `apply` builds."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import fx, nn

from explorer.arrays import Float64Array
from explorer.compress.quantize import ActivationQuantizer
from explorer.errors import ExportError
from explorer.graph.functional import ACTIVATIONS
from explorer.graph.inputs import Shapes, example, name_inputs
from explorer.graph.modules import SelectChannels, TransposedConv2d
from explorer.graph.symbolic import gives_tensors, propagate_shapes
from explorer.integer.builder import ProgramBuilder, refuse
from explorer.integer.lower_layers import (
    Value,
    Walk,
    connect,
    convolve,
    convolve_transposed,
    get_shape,
    pool_adaptive_average,
    pool_average,
    pool_max,
    sum_windows,
)
from explorer.integer.lower_moves import (
    concatenate,
    pad,
    reshape,
    select_channels,
    shuffle_pixels,
    slice_axes,
    upsample,
)
from explorer.integer.operations import Multiply
from explorer.integer.program import Input, IntegerProgram
from explorer.integer.requantize import quantize, quantize_logits
from explorer.integer.values import Concatenated, Elementwise, ScaledTensor, make_scalar, make_sum, map_elements

_RISING = (nn.ELU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Hardsigmoid)
"""Functions, beside the clips, of which a larger argument never gives a smaller value."""
_FUNCTIONS = frozenset(factory for factory in ACTIVATIONS.values() if isinstance(factory, type))


def lower_program(model: fx.GraphModule, input_shape: Shapes) -> IntegerProgram:
    """Return the integer program of what `compress.apply` built, for images of C x H x W, or of several such inputs.

    The first quantiser of each input turns it into codes; from there on there are integers only: sums of 32 bits,
    multipliers and shifts, tables. Its codes are those of `model` but where float32 and exact arithmetic round a value
    to different sides, or where a value lies halfway.

    Raises:
        ExportError: For a node without an integer form, and where a sum could overflow.
    """
    propagate_shapes(model, example(model, input_shape))
    inputs = {node: Input(name=name, shape=get_shape(node)) for node, name in name_inputs(model).items()}
    walk = Walk(model, ProgramBuilder(inputs.values(), model.graph.nodes), {})
    for node in model.graph.nodes:
        if node.op == "placeholder":
            given = ScaledTensor(tensor=inputs[node].name, zero_point=0, gain=make_scalar(1.0))
            walk.values[node] = make_sum(given, shape=inputs[node].shape)
        elif node.op == "output":
            return walk.builder.program(_output(walk, node))
        elif gives_tensors(node):
            try:
                walk.values[node] = _value(walk, node)
            except ExportError:
                raise
            except Exception as error:  # a rule that did not expect these arguments
                raise refuse(node, f"{type(error).__name__}: {error}", "please report this") from error
    raise AssertionError("a graph has an output")


def _output(walk: Walk, node: fx.Node) -> float:
    if not isinstance(node.args[0], fx.Node):
        raise refuse(node, "the network has several outputs", "return the logits alone")
    value = walk.value(node)
    for part in value.parts if isinstance(value, Concatenated) else (value,):
        if part.functions or part.pools or part.terms[0].tensor in walk.builder.inputs:
            raise refuse(node, "a function follows the last layer", "return the logits: the largest is the same one")
    return quantize_logits(walk.builder, value)


def _value(walk: Walk, node: fx.Node) -> Value:
    if node.meta["shape"] is None:
        raise refuse(node, "it gives several tensors at once", "write it as operations that give one tensor each")
    if node.op == "call_module":
        module = walk.model.get_submodule(str(node.target))
        if type(module) in _FUNCTIONS:
            return _each(walk, node, _function(module))
        rule = _MODULES.get(type(module))  # the very type: a subclass may compute something else
        if rule is None:
            raise refuse(
                node,
                f"there is no rule for modules of type {type(module).__name__}",
                "replace it in the model by layers of torch.nn that the exploration handles",
            )
        return rule(walk, node, module)
    call = _CALLS.get(node.target) if node.op != "get_attr" else None
    if call is None:
        raise refuse(node, "there is no rule for it", "rewrite the model with torch.nn modules")
    return call(walk, node)


def _each(walk: Walk, node: fx.Node, by: Elementwise) -> Value:
    """Return `by` on every element of the one tensor that a node reads."""
    value = walk.value(node)
    parts = value.parts if isinstance(value, Concatenated) else (value,)
    starts = np.cumsum([0, *(part.shape[0] for part in parts)])
    made = []
    for start, stop, part in zip(starts[:-1], starts[1:], parts, strict=True):
        own = by if by.gain.ndim == 0 else _share(by, start, stop)
        result = map_elements(part, own)
        changes = own.is_function or own.gain != 1 or own.offset != 0 if own.gain.ndim == 0 else True
        if result is None or (changes and part.terms[0].tensor in walk.builder.inputs):
            raise refuse(
                node,
                "it follows a function, or a max pooling that it does not commute with, without a quantiser between",
                "put batch norms before activation functions, and these before max poolings",
            )
        made.append(result)
    return Concatenated(parts=tuple(made), shape=value.shape) if isinstance(value, Concatenated) else made[0]


def _share(by: Elementwise, start: int, stop: int) -> Elementwise:
    """Return the part of `by` for channels start..stop."""
    gain, offset = by.gain[start:stop], by.offset[start:stop]
    return _affine(gain, offset)


def _quantizer(walk: Walk, node: fx.Node, module: ActivationQuantizer) -> Value:
    return quantize(walk.builder, walk.value(node), module, walk.name(node))


def _norm(walk: Walk, node: fx.Node, module: Any) -> Value:
    """Return a batch norm that folds into no layer: a gain and an offset of each channel."""
    variance, mean = (getattr(module, key).double().cpu().numpy() for key in ("running_var", "running_mean"))
    gain = 1.0 / np.sqrt(variance + module.eps)
    offset = -mean * gain
    if module.affine:
        weight, bias = (getattr(module, key).detach().double().cpu().numpy() for key in ("weight", "bias"))
        gain, offset = gain * weight, offset * weight + bias
    axes = (len(gain), *(1,) * (len(get_shape(node)) - 1))
    return _each(walk, node, _affine(gain.reshape(axes), offset.reshape(axes)))


def _affine(gain: Float64Array, offset: Float64Array) -> Elementwise:
    uniform = gain.ndim == 0

    def call(x: torch.Tensor) -> torch.Tensor:
        return x * float(gain) + float(offset)

    return Elementwise(
        gain=gain,
        offset=offset,
        low=-np.inf,
        high=np.inf,
        is_function=False,
        call=call if uniform else None,
        rising=bool((gain >= 0).all()),
    )


def _function(module: Any) -> Elementwise:
    """Return what an activation module does to each element."""
    low, high, clips = -np.inf, np.inf, False
    if isinstance(module, nn.ReLU):
        low, clips = 0.0, True
    elif isinstance(module, nn.Hardtanh):  # nn.ReLU6 is one from 0 to 6
        low, high, clips = float(module.min_val), float(module.max_val), True
    rising = clips or isinstance(module, _RISING) or (isinstance(module, nn.LeakyReLU) and module.negative_slope >= 0)
    return Elementwise(
        gain=make_scalar(1.0),
        offset=make_scalar(0.0),
        low=low,
        high=high,
        is_function=not clips,
        call=module,
        rising=rising,
    )


def _add(walk: Walk, node: fx.Node) -> Value:
    if node.kwargs.get("alpha", 1) != 1:
        raise refuse(node, "alpha scales one summand", "multiply before adding")
    first, second = _operands(node)
    if isinstance(first, fx.Node) and isinstance(second, fx.Node):
        sign = -1.0 if node.target in _SUBTRACTIONS else 1.0
        one, other = (walk.real(node, operand) for operand in (first, second))
        for value in (one, other):
            if value.functions or value.pools or np.isfinite(value.low).any() or np.isfinite(value.high).any():
                raise refuse(node, "a summand is not quantised", "add what layers, poolings or activations give")
        terms = (
            *one.terms,
            *(ScaledTensor(tensor=t.tensor, zero_point=t.zero_point, gain=sign * t.gain) for t in other.terms),
        )
        summed = make_sum(*terms, shape=get_shape(node))
        return map_elements(summed, _affine(np.ones_like(one.offset), one.offset + sign * other.offset)) or summed
    tensor_first = isinstance(first, fx.Node)
    number = float(second if tensor_first else first)  # type: ignore[arg-type]
    if node.target in _SUBTRACTIONS:
        gain, offset = (1.0, -number) if tensor_first else (-1.0, number)
        return _each(walk, node, _affine(make_scalar(gain), make_scalar(offset)))
    return _each(walk, node, _affine(make_scalar(1.0), make_scalar(number)))


def _multiply(walk: Walk, node: fx.Node) -> Value:
    first, second = _operands(node)
    if not (isinstance(first, fx.Node) and isinstance(second, fx.Node)):
        number = float(second if isinstance(first, fx.Node) else first)  # type: ignore[arg-type]
        return _each(walk, node, _affine(make_scalar(number), make_scalar(0.0)))
    left, right = walk.codes(node, first), walk.codes(node, second)
    ends = [
        [
            walk.builder.tensors[term.tensor].low - term.zero_point,
            walk.builder.tensors[term.tensor].high - term.zero_point,
        ]
        for term in (left, right)
    ]
    products = np.outer(ends[0], ends[1])
    step = Multiply(
        left=left.tensor,
        right=right.tensor,
        output=walk.name(node),
        left_zero_point=left.zero_point,
        right_zero_point=right.zero_point,
    )
    walk.builder.add(step, get_shape(node), int(products.min()), int(products.max()))
    return make_sum(
        ScaledTensor(tensor=walk.name(node), zero_point=0, gain=left.gain * right.gain), shape=get_shape(node)
    )


def _operands(node: fx.Node) -> tuple[object, object]:
    """Return both operands; a size that the graph computes is the number that it was."""
    given: dict[str, Any] = dict(zip(("input", "other"), node.args, strict=False)) | dict(node.kwargs)
    found = [
        entry.meta["value"] if isinstance(entry, fx.Node) and entry.meta["shape"] is None else entry
        for entry in (given.get("input"), given.get("other"))
    ]
    if not all(isinstance(entry, fx.Node | int | float) for entry in found):
        raise refuse(node, f"its operands are {found!r}", "use two tensors, or a tensor and a number")
    return found[0], found[1]


def _mean(walk: Walk, node: fx.Node) -> Value:
    """Return an average over height, width or both."""
    given = dict(zip(("input", "dim", "keepdim"), node.args, strict=False)) | dict(node.kwargs)
    source = node.all_input_nodes[0]
    shape, axes = source.meta["shape"], given.get("dim")
    listed = {axes % len(shape)} if isinstance(axes, int) else {int(axis) % len(shape) for axis in axes or ()}  # type: ignore[union-attr, arg-type]
    if len(shape) != 4 or not listed or not listed <= {2, 3} or given.get("dtype") is not None:
        raise refuse(node, "it does not average over positions", "average N x C x H x W over height and width")
    windows: list[Sequence[tuple[int, int]]] = [
        ((0, size),) if axis in listed else tuple((i, i + 1) for i in range(size))
        for axis, size in ((2, shape[2]), (3, shape[3]))
    ]
    count = np.prod([shape[axis] for axis in listed])
    return sum_windows(walk, node, windows[0], windows[1], np.full((len(windows[0]), len(windows[1])), count))


_SUBTRACTIONS = {operator.sub, operator.isub, torch.sub, "sub", "sub_"}
_MODULES: dict[type[nn.Module], Callable[[Walk, fx.Node, Any], Value]] = {
    ActivationQuantizer: _quantizer,
    nn.Conv2d: convolve,
    TransposedConv2d: convolve_transposed,
    nn.Linear: connect,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.MaxPool2d: pool_max,
    nn.AdaptiveMaxPool2d: pool_max,
    nn.AvgPool2d: pool_average,
    nn.AdaptiveAvgPool2d: pool_adaptive_average,
    nn.Flatten: reshape,
    nn.Unflatten: reshape,
    SelectChannels: select_channels,
    nn.PixelShuffle: shuffle_pixels,
    nn.Upsample: upsample,
    nn.UpsamplingNearest2d: upsample,
}
"""Module type to the rule that derives what it gives."""
_CALLS: dict[object, Callable[[Walk, fx.Node], Value]] = {
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_", *_SUBTRACTIONS), _add),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, "mul", "mul_"), _multiply),
    **dict.fromkeys((torch.mean, "mean"), _mean),
    **dict.fromkeys((torch.cat, torch.concat), concatenate),
    **dict.fromkeys(("view", "reshape", "flatten", "unsqueeze", "squeeze"), reshape),
    **dict.fromkeys((torch.flatten, torch.reshape, torch.unsqueeze, torch.squeeze), reshape),
    F.pad: pad,
    operator.getitem: slice_axes,
}
"""Function, or name of a tensor method, to the rule that derives what it gives."""

"""How each module of a canonical network is written as ONNX."""

from __future__ import annotations

from functools import singledispatch
from typing import Literal

from torch import fx, nn

from explorer.export.onnx.builder import OnnxBuilder, refuse
from explorer.export.onnx.layers import (
    write_convolution,
    write_linear,
    write_norm,
    write_prelu,
    write_quantizer,
    write_transposed_convolution,
)
from explorer.export.onnx.moves import (
    write_border,
    write_flatten,
    write_pixel_shuffle,
    write_resize,
    write_selection,
    write_unflatten,
)
from explorer.graph.traced import get_shape

_PLAIN = {nn.ReLU: "Relu", nn.Sigmoid: "Sigmoid", nn.Tanh: "Tanh", nn.Hardswish: "HardSwish", nn.Mish: "Mish"}
"""Activations without parameters that are one ONNX operator."""


@singledispatch
def write_module(module: nn.Module, builder: OnnxBuilder, node: fx.Node) -> str:
    """Write what `module` computes at `node`; returns the name of the result.

    One rule for each type, found through the class hierarchy.

    Raises:
        ExportError: For a type without a rule.
    """
    raise refuse(
        node,
        f"there is no rule for modules of type {type(module).__name__}",
        "replace it in the model by layers of torch.nn that the exploration handles",
    )


for _rule in (
    *(write_quantizer, write_convolution, write_transposed_convolution, write_linear, write_norm, write_prelu),
    *(write_selection, write_flatten, write_unflatten, write_pixel_shuffle, write_resize, write_border),
):
    write_module.register(_rule)


@write_module.register
def _write_plain(
    module: nn.ReLU | nn.Sigmoid | nn.Tanh | nn.Hardswish | nn.Mish, builder: OnnxBuilder, node: fx.Node
) -> str:
    return builder.node(_PLAIN[type(module)], (builder.source(node),), builder.name(node))


@write_module.register
def _write_hardtanh(module: nn.Hardtanh, builder: OnnxBuilder, node: fx.Node) -> str:
    """Write nn.Hardtanh, also nn.ReLU6, which is one from 0 to 6."""
    low = builder.constant(f"{builder.name(node)}/low", module.min_val)
    high = builder.constant(f"{builder.name(node)}/high", module.max_val)
    return builder.node("Clip", (builder.source(node), low, high), builder.name(node))


@write_module.register
def _write_leaky_relu(module: nn.LeakyReLU, builder: OnnxBuilder, node: fx.Node) -> str:
    return builder.node("LeakyRelu", (builder.source(node),), builder.name(node), alpha=float(module.negative_slope))


@write_module.register
def _write_elu(module: nn.ELU, builder: OnnxBuilder, node: fx.Node) -> str:
    return builder.node("Elu", (builder.source(node),), builder.name(node), alpha=float(module.alpha))


@write_module.register
def _write_gelu(module: nn.GELU, builder: OnnxBuilder, node: fx.Node) -> str:
    return builder.node("Gelu", (builder.source(node),), builder.name(node), approximate=module.approximate)


@write_module.register
def _write_silu(module: nn.SiLU, builder: OnnxBuilder, node: fx.Node) -> str:
    source = builder.source(node)
    gate = builder.node("Sigmoid", (source,), f"{builder.name(node)}/gate")
    return builder.node("Mul", (source, gate), builder.name(node))


@write_module.register
def _write_hardsigmoid(module: nn.Hardsigmoid, builder: OnnxBuilder, node: fx.Node) -> str:
    return builder.node("HardSigmoid", (builder.source(node),), builder.name(node), alpha=1 / 6, beta=0.5)


@write_module.register
def _write_softplus(module: nn.Softplus, builder: OnnxBuilder, node: fx.Node) -> str:
    if module.threshold < 17:  # from exp(-17) on, softplus(x) is x in float32
        raise refuse(node, f"its threshold is {module.threshold}", "use nn.Softplus with threshold=20")
    source = builder.source(node)
    if module.beta == 1:
        return builder.node("Softplus", (source,), builder.name(node))
    beta = builder.constant(f"{builder.name(node)}/beta", module.beta)
    scaled = builder.node("Mul", (source, beta), f"{builder.name(node)}/scaled")
    softplus = builder.node("Softplus", (scaled,), f"{builder.name(node)}/softplus")
    return builder.node("Div", (softplus, beta), builder.name(node))


@write_module.register
def _write_max_pool(module: nn.MaxPool2d, builder: OnnxBuilder, node: fx.Node) -> str:
    if module.return_indices:
        raise refuse(node, "it returns indices", "use return_indices=False")
    kernel, dilation = _pair(module.kernel_size), _pair(module.dilation)
    strides, padding = _pair(module.stride), _pair(module.padding)
    pads = _pool_pads(node, kernel, strides, padding, dilation)
    return builder.node(
        "MaxPool",
        (builder.source(node),),
        builder.name(node),
        kernel_shape=kernel,
        strides=strides,
        pads=pads,
        dilations=dilation,
    )


@write_module.register
def _write_average_pool(module: nn.AvgPool2d, builder: OnnxBuilder, node: fx.Node) -> str:
    if module.divisor_override is not None:
        raise refuse(node, "it overrides the divisor", "use divisor_override=None")
    kernel, strides, padding = _pair(module.kernel_size), _pair(module.stride), _pair(module.padding)
    pads = _pool_pads(node, kernel, strides, padding, (1, 1))
    counts_padding = module.count_include_pad and any(padding)
    if counts_padding and pads[2:] != list(padding):
        raise refuse(node, "ceil_mode with counted padding has no ONNX form", "use count_include_pad=False")
    return builder.node(
        "AveragePool",
        (builder.source(node),),
        builder.name(node),
        kernel_shape=kernel,
        strides=strides,
        pads=pads,
        count_include_pad=int(counts_padding),
    )


@write_module.register
def _write_adaptive_average_pool(module: nn.AdaptiveAvgPool2d, builder: OnnxBuilder, node: fx.Node) -> str:
    return _write_adaptive_pool(builder, node, "Average")


@write_module.register
def _write_adaptive_max_pool(module: nn.AdaptiveMaxPool2d, builder: OnnxBuilder, node: fx.Node) -> str:
    if module.return_indices:
        raise refuse(node, "it returns indices", "use return_indices=False")
    return _write_adaptive_pool(builder, node, "Max")


def _write_adaptive_pool(builder: OnnxBuilder, node: fx.Node, kind: Literal["Average", "Max"]) -> str:
    """Return a pooling to 1 x 1 is global; one whose output divides its input has windows of one size."""
    before, after = get_shape(node.all_input_nodes[0])[-2:], get_shape(node)[-2:]
    if after == (1, 1):
        return builder.node(f"Global{kind}Pool", (builder.source(node),), builder.name(node))
    if any(size % count for size, count in zip(before, after, strict=True)):
        remedy = f"choose an output size that divides {before[0]} x {before[1]}"
        raise refuse(node, f"its windows differ in size ({before} to {after})", remedy)
    window = [size // count for size, count in zip(before, after, strict=True)]
    return builder.node(f"{kind}Pool", (builder.source(node),), builder.name(node), kernel_shape=window, strides=window)


def _pool_pads(
    node: fx.Node,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> list[int]:
    """Begin and end of both axes; what ceil_mode adds becomes padding at the end, as the shapes are known."""
    before, after = get_shape(node.all_input_nodes[0])[-2:], get_shape(node)[-2:]
    ends = []
    for axis in range(2):
        reach = (after[axis] - 1) * strides[axis] + dilation[axis] * (kernel[axis] - 1) + 1
        ends.append(max(padding[axis], reach - before[axis] - padding[axis]))
    return [*padding, *ends]


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])

"""How quantisers, weight layers and batch norms are written as ONNX."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from explorer.compress.activations import input_quantizer
from explorer.compress.quantize import ActivationQuantizer
from explorer.export.onnx.builder import OnnxBuilder, refuse
from explorer.graph.modules import TransposedConv2d
from explorer.graph.traced import get_shape


def write_quantizer(module: ActivationQuantizer, builder: OnnxBuilder, node: fx.Node) -> str:
    """Write the grid of a tensor, in the builder's dialect."""
    scale = float(module.scale)
    return builder.dialect.write_activation(
        builder, builder.source(node), builder.name(node), module.bits, scale, module.zero_point
    )


def write_convolution(module: nn.Conv2d, builder: OnnxBuilder, node: fx.Node) -> str:
    """Write a convolution on N x C x H x W.

    Raises:
        ExportError: For padding with anything but zeros.
    """
    if module.padding_mode != "zeros":
        raise refuse(node, f"its padding mode is {module.padding_mode!r}", "use padding_mode='zeros'")
    inputs = [builder.source(node), _weight(module, builder, node)]
    if module.bias is not None:
        inputs.append(_bias(module, builder, node))
    return builder.node(
        "Conv",
        inputs,
        builder.name(node),
        kernel_shape=list(module.kernel_size),
        strides=list(module.stride),
        pads=_convolution_pads(module),
        dilations=list(module.dilation),
        group=module.groups,
    )


def write_transposed_convolution(module: TransposedConv2d, builder: OnnxBuilder, node: fx.Node) -> str:
    """Write a transposed convolution, whose weight is brought from outputs first to ONNX's order as it is read."""
    name = f"{builder.name(node)}/weight"
    weight, groups = _weight(module, builder, node), module.groups
    outputs, inputs, *window = module.weight.shape
    split = (groups, outputs // groups, inputs, *window)
    joined = (groups * inputs, outputs // groups, *window)
    for step, shape in (("split", split), ("turned", None), ("joined", joined)):
        if shape is None:
            weight = builder.node("Transpose", (weight,), f"{name}/{step}", perm=[0, 2, 1, 3, 4])
        else:
            shape_name = builder.constant(f"{name}/{step}_shape", list(shape), np.int64)
            weight = builder.node("Reshape", (weight, shape_name), f"{name}/{step}")
    inputs_read = [builder.source(node), weight]
    if module.bias is not None:
        inputs_read.append(_bias(module, builder, node))
    return builder.node(
        "ConvTranspose",
        inputs_read,
        builder.name(node),
        kernel_shape=list(module.kernel_size),
        strides=list(module.stride),
        pads=_convolution_pads(module),
        dilations=list(module.dilation),
        output_padding=list(module.output_padding),
        group=groups,
    )


def write_prelu(module: nn.PReLU, builder: OnnxBuilder, node: fx.Node) -> str:
    """Write a leaky ReLU whose slope is learned, for all channels or for each."""
    positions = (1,) * (len(get_shape(node)) - 2)
    slope = builder.constant(f"{builder.name(node)}/slope", _numpy(module.weight.reshape(-1, *positions)))
    return builder.node("PRelu", (builder.source(node), slope), builder.name(node))


def write_linear(module: nn.Linear, builder: OnnxBuilder, node: fx.Node) -> str:
    """Write a linear layer: Gemm on N x features, MatMul on tensors of more axes."""
    inputs = [builder.source(node), _weight(module, builder, node)]
    bias = [] if module.bias is None else [_bias(module, builder, node)]
    if len(get_shape(node)) == 2:
        return builder.node("Gemm", (*inputs, *bias), builder.name(node), transB=1)
    transposed = builder.node("Transpose", (inputs[1],), f"{builder.name(node)}/transposed", perm=[1, 0])
    product = builder.node(
        "MatMul", (inputs[0], transposed), f"{builder.name(node)}/product" if bias else builder.name(node)
    )
    return builder.node("Add", (product, *bias), builder.name(node)) if bias else product


def write_norm(module: nn.BatchNorm1d | nn.BatchNorm2d, builder: OnnxBuilder, node: fx.Node) -> str:
    """Write a batch norm that folds into no layer, with its statistics and without training."""
    mean, variance = module.running_mean, module.running_var
    assert mean is not None  # canonicalise refuses batch norms without statistics
    assert variance is not None
    weight, bias = (module.weight, module.bias) if module.affine else (torch.ones_like(mean), torch.zeros_like(mean))
    named = {"weight": weight, "bias": bias, "mean": mean, "variance": variance}
    constants = [builder.constant(f"{builder.name(node)}/{key}", _numpy(value)) for key, value in named.items()]
    return builder.node(
        "BatchNormalization", (builder.source(node), *constants), builder.name(node), epsilon=module.eps
    )


def _weight(module: nn.Conv2d | nn.Linear, builder: OnnxBuilder, node: fx.Node) -> str:
    """Return integer codes under one scale per output channel, or a float tensor where the layer has no codes."""
    buffers = dict(module.named_buffers(recurse=False))
    if "weight_codes" not in buffers:
        return builder.constant(f"{builder.name(node)}/weight", _numpy(module.weight))
    codes, scales = buffers["weight_codes"].cpu().numpy(), buffers["weight_scale"].cpu().numpy()
    return builder.dialect.write_weight(builder, f"{builder.name(node)}/weight", codes, scales)


def _bias(module: nn.Conv2d | nn.Linear, builder: OnnxBuilder, node: fx.Node) -> str:
    assert module.bias is not None
    buffers = dict(module.named_buffers(recurse=False))
    if "bias_codes" not in buffers:
        return builder.constant(f"{builder.name(node)}/bias", _numpy(module.bias))
    model = node.graph.owning_module
    assert model is not None
    grid = input_quantizer(model, node).scale * buffers["weight_scale"]
    codes = buffers["bias_codes"].cpu().numpy()
    return builder.dialect.write_bias(builder, f"{builder.name(node)}/bias", codes, grid.cpu().numpy())


def _convolution_pads(module: nn.Conv2d) -> list[int]:
    """Begin and end of both axes; 'same' puts the odd row or column at the end, as torch does."""
    if module.padding == "valid":
        return [0, 0, 0, 0]
    if module.padding == "same":
        totals = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        return [total // 2 for total in totals] + [total - total // 2 for total in totals]
    assert not isinstance(module.padding, str)
    return [*module.padding, *module.padding]


def _numpy(tensor: torch.Tensor) -> NDArray[np.generic]:
    return tensor.detach().cpu().numpy()

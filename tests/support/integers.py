"""Codes of a simulated network, those of its integer program, and networks around one operation."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from explorer.compress.activations import input_quantizer
from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import uniform
from explorer.compress.quantize import ActivationQuantizer
from explorer.compress.weights import has_codes
from explorer.graph.inputs import Inputs, as_tuple, count_images, take
from explorer.integer.interpret import run_program
from explorer.integer.program import IntegerProgram

Codes = dict[str, NDArray[np.int64]]
Operation = Callable[["Around", Tensor], Tensor]
SHAPE = (3, 8, 8)


class Around(nn.Module):
    """Layers that an operation may use, and a linear layer behind it."""

    def __init__(self, operation: Operation) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, (3, 2), padding="same", dilation=2)
        self.grouped = nn.Conv2d(8, 8, 3, 2, 1, groups=2)
        self.transposed = nn.ConvTranspose2d(8, 8, 3, 2, 1, output_padding=1, groups=2)
        self.norm, self.norm1 = nn.BatchNorm2d(8), nn.BatchNorm1d(128)
        for norm in (self.norm, self.norm1):
            norm.weight.data.normal_()
            norm.bias.data.normal_()
            norm.running_mean.normal_()  # type: ignore[union-attr]
            norm.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr]
        self.operation = operation
        self.eval()
        with torch.no_grad():
            self.head = nn.Linear(operation(self, torch.zeros(2, *SHAPE)).flatten(1).shape[1], 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.operation(self, x).flatten(1))
        return out


def compressed(model: nn.Module, images: Inputs, weight_bits: int = 8, activation_bits: int = 8) -> fx.GraphModule:
    """What `apply` makes of a network with all layers at the same widths."""
    context = CompressionContext.of(model.eval(), take(images, slice(16)))
    return apply(context, uniform(context.graph, weight_bits, activation_bits))


def around(operation: Operation, images: Tensor, weight_bits: int = 8, activation_bits: int = 8) -> fx.GraphModule:
    """The same of an operation amid layers."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Around(operation)
    return compressed(model, images, weight_bits, activation_bits)


def simulated_codes(model: fx.GraphModule, images: Inputs) -> tuple[Codes, NDArray[np.float64]]:
    """(Codes of every quantiser by node, logits), computed in the type of the images."""
    codes: Codes = {}

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> object:
            result = super().run_node(n)
            module = self.fetch_attr(str(n.target)) if n.op == "call_module" else None
            if isinstance(module, ActivationQuantizer) and isinstance(result, Tensor):
                codes[n.name] = (torch.round(result / module.scale) + module.zero_point).long().numpy()
            return result

    with torch.no_grad():
        return codes, Recorder(model).run(*as_tuple(images)).numpy()


def exact_codes(model: fx.GraphModule, images: Inputs) -> tuple[Codes, NDArray[np.float64]]:
    """The same in exact arithmetic."""
    return simulated_codes(*exactly(model, images))


def exactly(model: fx.GraphModule, images: Inputs) -> tuple[fx.GraphModule, tuple[Tensor, ...]]:
    """(Network, images) in float64, weights and biases from their codes; the inputs alone are quantised in float32."""
    quantizers = [reading_quantizer(model, node) for node in model.graph.nodes if node.op == "placeholder"]
    exact = copy.deepcopy(model).double()
    for node in exact.graph.nodes:
        module = exact.get_submodule(str(node.target)) if node.op == "call_module" else None
        if module is not None and has_codes(module):
            codes, scale = module.get_buffer("weight_codes"), module.get_buffer("weight_scale").double()
            module.weight.data = codes.double() * scale.view(-1, *(1,) * (codes.ndim - 1))
            if module.bias is not None:
                module.bias.data = module.get_buffer("bias_codes").double() * scale * input_quantizer(exact, node).scale
    pairs = zip(quantizers, as_tuple(images), strict=True)
    return exact, tuple(quantizer(tensor).double() for quantizer, tensor in pairs)


def reading_quantizer(model: fx.GraphModule, node: fx.Node) -> ActivationQuantizer:
    """The quantiser that an input comes to, through poolings it may be."""
    module = None
    while not isinstance(module, ActivationQuantizer):
        node = next(iter(node.users))
        module = model.get_submodule(str(node.target))
    return module


def program_codes(program: IntegerProgram, images: Inputs) -> tuple[Codes, NDArray[np.int32]]:
    """(Every tensor of a program by name, logits)."""
    tensors: Codes = {}
    logits = run_program(
        program,
        tuple(tensor.numpy() for tensor in as_tuple(images)),
        count_images(images),
        observe=lambda step, values: tensors.update({step.output: values}),  # type: ignore[dict-item]
    )
    return tensors, logits


def share_equal(expected: Codes, received: Codes) -> float:
    """Of all codes, the share that is equal."""
    equal = sum(int((received[name] == codes).sum()) for name, codes in expected.items())
    return equal / sum(codes.size for codes in expected.values())

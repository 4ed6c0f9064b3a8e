"""Build the network that a candidate describes: a compressed copy, never the user's model."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import fx, nn

from explorer.compress.calibrate import Calibration, channel_statistics
from explorer.compress.candidate import Candidate, LayerChoice, check
from explorer.compress.cluster import share_codes
from explorer.compress.plan import activation_bits
from explorer.compress.prune import Order, kept_classes_of, kept_positions, magnitude_mask, remove_filters
from explorer.compress.quantize import ActivationQuantizer, code_limit, quantize_weight, weight_scales
from explorer.graph.layers import ModelGraph

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
BIAS_LIMIT = 2**30
"""Largest magnitude of a bias among 32-bit sums: half of the range is left for the products."""
SMALLEST_SCALE = 1e-30
"""Of a weight: times the scale of its input it is still a normal float32 number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What every candidate is built from: the canonical float network, its graph, filter order, calibration."""

    model: fx.GraphModule
    graph: ModelGraph
    order: Order
    calibration: Calibration


def apply(basis: Basis, candidate: Candidate) -> fx.GraphModule:
    """Return a compressed copy of the network in evaluation mode.

    Filters are removed, weights pruned, shared and quantised, activations quantised, batch norms recalibrated
    and folded, in this order. Each convolution and linear module of the result carries the buffers
    `weight_codes` (int8, shape of the weight) and `weight_scale` (float32, one per output channel) with
    weight = codes * scale, and `bias_codes` (int32) where it has a bias. Raises CandidateError when the
    candidate does not fit the network.
    """
    check(candidate, basis.graph)
    model = _copy(basis.model)
    kept = kept_classes_of(basis.graph, candidate, basis.order)
    remove_filters(model, basis.graph, kept)
    for layer in basis.graph.layers:
        compress_weights(_layer_module(model, layer.name), candidate.choice(layer.name))
    insert_quantizers(model, basis, candidate)
    model.to(basis.calibration.images.device)
    recalibrate_norms(model, basis.calibration, kept_positions(basis.graph, kept))
    fold_norms(model)
    quantize_biases(model)
    return model.eval()


def compress_weights(module: nn.Conv2d | nn.Linear, choice: LayerChoice) -> None:
    """Prune, share and quantise one layer's weights in place, and attach codes and scales."""
    weight = module.weight.data
    mask = magnitude_mask(weight, choice.kept_weights)
    weight = weight * mask
    scale = weight_scales(weight, choice.weight_bits)
    if choice.codebook_size is None:
        codes = quantize_weight(weight, scale, choice.weight_bits)
    else:
        real = (weight.flatten(1) / scale[:, None]).view_as(weight).double().cpu().numpy()
        shared = share_codes(
            real, code_limit(choice.weight_bits), choice.codebook_size, mask.cpu().numpy().astype(np.bool_)
        )
        codes = torch.from_numpy(shared).to(weight)
    attach_codes(module, codes, scale)


def attach_codes(module: nn.Conv2d | nn.Linear, codes: torch.Tensor, scale: torch.Tensor) -> None:
    """Store integer codes and scales beside the weight that they stand for."""
    module.register_buffer("weight_codes", codes.to(torch.int8))
    module.register_buffer("weight_scale", scale.float())
    expanded = scale.float().view(-1, *(1,) * (codes.ndim - 1))
    module.weight = nn.Parameter(codes.float() * expanded, requires_grad=False)


def insert_quantizers(model: fx.GraphModule, basis: Basis, candidate: Candidate) -> None:
    """Quantise every stored activation at its width, and once more where a layer reads it narrower."""
    stored = activation_bits(basis.graph, candidate)
    nodes = {node.name: node for node in model.graph.nodes}
    quantized: dict[str, fx.Node] = {}
    for activation in basis.graph.activations:
        if activation.quantized:
            quantized[activation.name] = _insert_after(
                model, nodes[activation.name], basis.calibration, activation.name, stored[activation.name]
            )
    by_target = {str(node.target): node for node in model.graph.nodes if node.op == "call_module"}
    for layer in basis.graph.layers:
        bits = candidate.choice(layer.name).activation_bits
        if bits < stored[layer.source]:
            node = by_target[layer.name]
            source = node.all_input_nodes[0]
            name = f"{layer.name.replace('.', '_')}_input_quantizer"
            model.add_submodule(name, basis.calibration.quantizer(layer.source, bits))
            with model.graph.inserting_before(node):
                node.replace_input_with(source, model.graph.call_module(name, (source,)))
    model.recompile()


def recalibrate_norms(model: fx.GraphModule, calibration: Calibration, positions: Mapping[str, torch.Tensor]) -> None:
    """Correct every batch norm, in depth order, for how compression changed what it receives.

    With (mf, vf) the float network's statistics on the calibration images and (mq, vq) the compressed one's,
    var' = var * vq / vf and mean' = mq + (mean - mf) * sqrt(vq / vf): unlike plain recomputation this leaves
    an unchanged network unchanged, whatever images it was trained on.
    """
    norms = {
        node.name: norm
        for node in model.graph.nodes
        if node.op == "call_module" and (norm := _norm(model, node)) is not None
    }
    if norms:
        with torch.no_grad():
            _Recalibrator(model, norms, calibration, positions).run(calibration.images)


def fold_norms(model: fx.GraphModule) -> None:
    """Fold every batch norm that alone reads a layer into that layer's scales and bias; codes stay integers."""
    for node in list(model.graph.nodes):
        norm = _norm(model, node) if node.op == "call_module" else None
        if norm is None:
            continue
        source = node.all_input_nodes[0]
        module = model.get_submodule(str(source.target)) if source.op == "call_module" else None
        if not isinstance(module, nn.Conv2d | nn.Linear) or len(source.users) != 1:
            continue
        _fold(module, norm)
        node.replace_all_uses_with(source)
        model.graph.erase_node(node)
        model.delete_submodule(str(node.target))
    model.recompile()


def quantize_biases(model: fx.GraphModule) -> None:
    """Round biases to the grid of the 32-bit sums: input scale times weight scale.

    A filter whose bias does not fit in 32 bits on that grid, or none of whose weights is left, is its bias and
    next to nothing else: its scale is set so that the bias fits, or keeps its precision.
    """
    for node in model.graph.nodes:
        module = model.get_submodule(str(node.target)) if node.op == "call_module" else None
        if not isinstance(module, nn.Conv2d | nn.Linear) or module.bias is None:
            continue
        input_scale, limit = input_quantizer(model, node).scale, 2**31 - 1
        weight_codes, scale = module.get_buffer("weight_codes"), module.get_buffer("weight_scale")
        lowest = (module.bias.data.abs() / (input_scale * BIAS_LIMIT)).clamp_min(SMALLEST_SCALE)
        empty = (weight_codes == 0).flatten(1).all(1)
        scale = torch.where(empty, lowest, torch.maximum(scale, lowest))
        attach_codes(module, weight_codes, scale)
        grid = input_scale.double() * scale.double()
        codes = torch.round(module.bias.data.double() / grid).clamp(-limit, limit)
        module.register_buffer("bias_codes", codes.to(torch.int32))
        module.bias = nn.Parameter((codes * grid).float(), requires_grad=False)


def input_quantizer(model: fx.GraphModule, node: fx.Node) -> ActivationQuantizer:
    """The quantiser whose codes the layer at `node` reads through views and monotone operations.

    Raises LookupError where there is none, which `apply` never leaves.
    """
    source = node
    while source.all_input_nodes:
        source = source.all_input_nodes[0]
        module = model.get_submodule(str(source.target)) if source.op == "call_module" else None
        if isinstance(module, ActivationQuantizer):
            return module
    raise LookupError(f"layer {node.target} reads no quantised activation")


class _Recalibrator(fx.Interpreter):
    def __init__(
        self,
        model: fx.GraphModule,
        norms: Mapping[str, BatchNorm],
        calibration: Calibration,
        positions: Mapping[str, torch.Tensor],
    ) -> None:
        super().__init__(model)
        self.norms, self.calibration, self.positions = norms, calibration, positions

    def run_node(self, n: fx.Node) -> object:
        norm = self.norms.get(n.name)
        if norm is not None and norm.running_mean is not None and norm.running_var is not None:
            mean, variance = channel_statistics(self.env[n.all_input_nodes[0]])
            float_mean, float_variance = (
                statistic[self.positions[n.name]] for statistic in self.calibration.norms[n.name]
            )
            ratio = torch.where(float_variance > 1e-12, variance / float_variance, torch.ones_like(variance))
            norm.running_mean = mean + (norm.running_mean - float_mean) * ratio.sqrt()
            norm.running_var = norm.running_var * ratio
        return super().run_node(n)


def _copy(model: fx.GraphModule) -> fx.GraphModule:
    copied = copy.deepcopy(model)
    for before, after in zip(model.graph.nodes, copied.graph.nodes, strict=True):
        after.meta = dict(before.meta)
    return copied


def _layer_module(model: fx.GraphModule, name: str) -> nn.Conv2d | nn.Linear:
    module = model.get_submodule(name)
    assert isinstance(module, nn.Conv2d | nn.Linear)
    return module


def _norm(model: fx.GraphModule, node: fx.Node) -> BatchNorm | None:
    module = model.get_submodule(str(node.target))
    return module if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) else None


def _insert_after(
    model: fx.GraphModule, node: fx.Node, calibration: Calibration, activation: str, bits: int
) -> fx.Node:
    name = f"{node.name}_quantizer"
    model.add_submodule(name, calibration.quantizer(activation, bits))
    with model.graph.inserting_after(node):
        inserted = model.graph.call_module(name, (node,))
    node.replace_all_uses_with(inserted, delete_user_cb=lambda user: user is not inserted)
    return inserted


def _fold(module: nn.Conv2d | nn.Linear, norm: BatchNorm) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = torch.rsqrt(norm.running_var + norm.eps)
    offset = -norm.running_mean * gain
    if norm.affine:
        gain, offset = gain * norm.weight.data, offset * norm.weight.data + norm.bias.data
    if module.bias is not None:
        offset = offset + module.bias.data * gain
    sign = torch.where(gain < 0, -1.0, 1.0)
    codes, scale = module.get_buffer("weight_codes").float(), module.get_buffer("weight_scale") * gain.abs()
    attach_codes(module, codes * sign.view(-1, *(1,) * (codes.ndim - 1)), scale)
    module.bias = nn.Parameter(offset, requires_grad=False)

"""Batch norms of a compressed network: corrected for what compression changed, and folded."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection

import torch
from torch import Tensor, fx, nn

from explorer.compress.quantize import round_significand, round_to_power_of_two
from explorer.compress.weights import attach_codes, has_codes
from explorer.graph.modules import BatchNorm, layer_module
from explorer.settings import QuantizerSettings


def find_norms(model: fx.GraphModule) -> dict[str, BatchNorm]:
    """Return the batch norms of a network, by the name of their node."""
    return {
        node.name: norm
        for node in model.graph.nodes
        if node.op == "call_module" and (norm := _norm(model, node)) is not None
    }


def recalibrate_norm(norm: BatchNorm, received: tuple[Tensor, Tensor], float_received: tuple[Tensor, Tensor]) -> None:
    """Correct a batch norm, in place, for how compression changed the (mean, variance) of what it receives.

    With (mf, vf) the float network's statistics on the calibration images and (mq, vq) the compressed one's,
    var' = var * vq / vf and mean' = mq + (mean - mf) * sqrt(vq / vf): unlike plain recomputation this leaves
    an unchanged network unchanged, whatever images it was trained on.
    """
    (mean, variance), (float_mean, float_variance) = received, float_received
    assert norm.running_mean is not None
    assert norm.running_var is not None
    ratio = torch.where(float_variance > 1e-12, variance / float_variance, torch.ones_like(variance))
    norm.running_mean = mean + (norm.running_mean - float_mean) * ratio.sqrt()
    norm.running_var = norm.running_var * ratio


def fold_norms(model: fx.GraphModule, stepped: Collection[str] = (), settings: QuantizerSettings | None = None) -> None:
    """Fold every batch norm that alone reads a layer into that layer's scales and bias; codes stay integers.

    Args:
        stepped: Layers whose scales are rounded to few bits then, with biases that make good for it at the mean.
        settings: Where they ask for it, all scales are rounded to powers of two, in the same way.
    """
    rounded = _choose_rounding(settings or QuantizerSettings())
    for node in list(model.graph.nodes):
        norm = _norm(model, node) if node.op == "call_module" else None
        if norm is None:
            continue
        source = node.all_input_nodes[0]
        module = model.get_submodule(str(source.target)) if source.op == "call_module" else None
        if module is None or not has_codes(module) or len(source.users) != 1:
            continue
        _fold(module, norm, round_significand if str(source.target) in stepped else rounded)
        node.replace_all_uses_with(source)
        model.graph.erase_node(node)
        model.delete_submodule(str(node.target))
    model.recompile()


def _choose_rounding(settings: QuantizerSettings) -> Callable[[Tensor], Tensor] | None:
    """Return how the scales of a layer are rounded once its norm is folded; those that were one stay one."""
    if not settings.power_of_two:
        return None
    return round_to_power_of_two if settings.scale_granularity == "channel" else _round_together


def _round_together(scales: Tensor) -> Tensor:
    """Return one power of two for all filters, that of the median; 0, whatever its codes, where the gain is 0."""
    alive = scales[scales > 0]
    return torch.where(scales > 0, round_to_power_of_two(alive.median()), 0.0) if len(alive) else scales


def find_fold_signs(model: fx.GraphModule, layers: Collection[str]) -> dict[str, Tensor]:
    """Return for each layer what `fold_norms` multiplies the codes of its filters with: 1 or -1 (out_channels)."""
    return {name: layer.get_buffer("weight_codes")[:, 0] for name, layer in _fold_ones(model, layers).items()}


def find_fold_gains(model: fx.GraphModule, layers: Collection[str]) -> dict[str, Tensor]:
    """Return for each layer what `fold_norms` multiplies the scales of its filters with (out_channels, from 0)."""
    return {name: layer.get_buffer("weight_scale") for name, layer in _fold_ones(model, layers).items()}


def _fold_ones(model: fx.GraphModule, layers: Collection[str]) -> dict[str, nn.Conv2d | nn.Linear]:
    """Return layers whose codes and scales were 1 before norms were folded into them."""
    copied = copy.deepcopy(model)
    for name in layers:
        module = layer_module(copied, name)
        attach_codes(module, torch.ones_like(module.weight.flatten(1)[:, :1]), torch.ones(len(module.weight)))
    fold_norms(copied)
    return {name: layer_module(copied, name) for name in layers}


def _norm(model: fx.GraphModule, node: fx.Node) -> BatchNorm | None:
    module = model.get_submodule(str(node.target))
    return module if isinstance(module, BatchNorm) else None


def _fold(module: nn.Conv2d | nn.Linear, norm: BatchNorm, rounded: Callable[[Tensor], Tensor] | None) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    codes, before = module.get_buffer("weight_codes").float(), module.get_buffer("weight_scale")
    gain = torch.rsqrt(norm.running_var + norm.eps)
    slope = norm.weight.data if norm.affine else torch.ones_like(gain)
    if rounded is not None:  # of the gain, so that the offset takes part
        wanted = before * (gain * slope).abs()
        gain = gain * torch.where(wanted > 0, rounded(wanted) / wanted, 1.0)
    offset = -norm.running_mean * gain
    if norm.affine:
        gain, offset = gain * slope, offset * slope + norm.bias.data
    if module.bias is not None:
        offset = offset + module.bias.data * gain
    sign, scale = torch.where(gain < 0, -1.0, 1.0), before * gain.abs()
    if rounded is not None:
        scale = rounded(scale)  # what float32 left of it
    attach_codes(module, codes * sign.view(-1, *(1,) * (codes.ndim - 1)), scale)
    module.bias = nn.Parameter(offset, requires_grad=False)

"""Batch norms of a compressed network: corrected for what compression changed, and folded."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import replace

import torch
from torch import Tensor, fx, nn

from explorer.compress.quantize import round_significand
from explorer.compress.weights import LayerCodes, attach_codes, has_codes
from explorer.graph.modules import BatchNorm, layer_module


def find_norms(model: fx.GraphModule) -> dict[str, BatchNorm]:
    """Return the batch norms of a network, by the name of their node."""
    found = ((node.name, _norm(model, node)) for node in model.graph.nodes)
    return {name: norm for name, norm in found if norm is not None}


def find_own_norm(model: fx.GraphModule, node: fx.Node) -> tuple[fx.Node, BatchNorm] | None:
    """Return the batch norm that alone reads a node, and its node."""
    behind = next(iter(node.users), None)
    norm = None if behind is None or len(node.users) > 1 else _norm(model, behind)
    return None if behind is None or norm is None else (behind, norm)


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


def fold_norms(model: fx.GraphModule, stepped: Collection[str] = ()) -> None:
    """Fold every batch norm that alone reads a layer into that layer's scales and bias; codes stay integers.

    Args:
        stepped: Layers whose scales are rounded to few bits then, with biases that make good for it at the mean.
    """
    for node in model.graph.nodes:
        module = model.get_submodule(str(node.target)) if node.op == "call_module" else None
        own = find_own_norm(model, node)
        if module is None or own is None or not has_codes(module):
            continue
        behind, norm = own
        folded = fold_norm(LayerCodes.of(module), norm, rounds=str(node.target) in stepped)
        attach_codes(module, folded.codes, folded.scale)
        module.bias = None if folded.bias is None else nn.Parameter(folded.bias, requires_grad=False)
        behind.replace_all_uses_with(node)
        model.graph.erase_node(behind)
        model.delete_submodule(str(behind.target))
    model.recompile()


def fold_norm(given: LayerCodes, norm: BatchNorm, *, rounds: bool = False) -> LayerCodes:
    """Return the codes, scales and bias of a layer with a batch norm behind it; with `rounds` scales have few bits."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    codes, gain = given.codes, torch.rsqrt(norm.running_var + norm.eps)
    slope = norm.weight.data if norm.affine else torch.ones_like(gain)
    if rounds:  # of the gain, so that the offset takes part
        wanted = given.scale * (gain * slope).abs()
        gain = gain * torch.where(wanted > 0, round_significand(wanted) / wanted, 1.0)
    offset = -norm.running_mean * gain
    if norm.affine:
        gain, offset = gain * slope, offset * slope + norm.bias.data
    if given.bias is not None:
        offset = offset + given.bias * gain
    turned, scale = gain < 0, given.scale * gain.abs()
    if rounds:
        scale = round_significand(scale)  # what float32 left of it
    if bool(turned.any()):
        codes = torch.where(turned.view(-1, *(1,) * (codes.ndim - 1)), -codes, codes)
    return replace(given, codes=codes, scale=scale, bias=offset)


def find_fold_signs(model: fx.GraphModule, layers: Collection[str]) -> dict[str, Tensor]:
    """Return for each layer what `fold_norms` multiplies the codes of its filters with: 1 or -1 (out_channels)."""
    copied = copy.deepcopy(model)
    for name in layers:
        module = layer_module(copied, name)
        attach_codes(module, torch.ones_like(module.weight.flatten(1)[:, :1]), torch.ones(len(module.weight)))
    fold_norms(copied)
    return {name: layer_module(copied, name).get_buffer("weight_codes")[:, 0] for name in layers}


def _norm(model: fx.GraphModule, node: fx.Node) -> BatchNorm | None:
    module = model.get_submodule(str(node.target)) if node.op == "call_module" else None
    return module if isinstance(module, BatchNorm) else None

"""Weights as integer codes with scales: pruned, shared and quantised, and biases on the grid of the sums."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeGuard

import numpy as np
import torch
from torch import fx, nn

from explorer.compress.activations import input_quantizer
from explorer.compress.candidate import LayerChoice
from explorer.compress.cluster import share_codes
from explorer.compress.entropy_constrained import find_entropy_codes
from explorer.compress.quantize import (
    SMALLEST_SCALE,
    code_limit,
    find_power_of_two_scales,
    find_weight_scales,
    fit_step,
    quantize_weight,
    raise_to_power_of_two,
    round_significand,
)
from explorer.compress.sparsity import mask_weights
from explorer.errors import CandidateError, NumericalError
from explorer.settings import QuantizerSettings

NEAREST = QuantizerSettings()
ENTROPY_ROUNDINGS = ("ecq", "ecqx")
BIAS_LIMIT = 2**30
"""Largest magnitude of a bias among 32-bit sums: half of the range is left for the products."""


def compress_weights(
    module: nn.Conv2d | nn.Linear,
    choice: LayerChoice,
    importance: torch.Tensor | None = None,
    settings: QuantizerSettings = NEAREST,
    step: float | None = None,
) -> None:
    """Prune, share and quantise one layer's weights in place, and attach the codes and scales of `find_codes`."""
    attach_codes(module, *find_codes(module.weight.data, choice, importance, settings, step))


def find_codes(
    weight: torch.Tensor,
    choice: LayerChoice,
    importance: torch.Tensor | None = None,
    settings: QuantizerSettings = NEAREST,
    step: float | None = None,
    scale: torch.Tensor | None = None,
    gain: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the integer codes (a float tensor) of a layer's `weight` (out_channels x ...) and their scales.

    `importance` (of the weight's shape, not negative) is what an error of each weight counts in sharing, or with
    rounding "ecqx" its relevance; `step` is that of the choice in the units of the weights, None where it has none.
    Rounding "adaptive" starts from the nearest codes, which these are. A `scale` that is known already is not looked
    for again. `gain` is what a batch norm behind the layer multiplies its filters with, where scales are powers of two.

    Raises:
        CandidateError: Where relevance is needed and not known.
    """
    mask, granularity = mask_weights(weight, choice), settings.scale_granularity
    weight = weight * mask
    if scale is None and step is not None:
        scale = fit_step(weight, step)
    elif scale is None and settings.power_of_two:
        scale = find_power_of_two_scales(weight, choice.weight_bits, granularity, gain)
    elif scale is None:
        scale = find_weight_scales(weight, choice.weight_bits, granularity)
    if choice.codebook_size is None and settings.rounding in ENTROPY_ROUNDINGS and choice.weight_bits > 1:
        codes = _weigh_bits(weight / scale.view(-1, *(1,) * (weight.ndim - 1)), choice, importance, settings) * mask
    elif choice.codebook_size is None:
        codes = quantize_weight(weight, scale, choice.weight_bits)
    else:
        real = (weight.flatten(1) / scale[:, None]).view_as(weight).double().cpu().numpy()
        shared = share_codes(
            real,
            code_limit(choice.weight_bits),
            choice.codebook_size,
            mask.cpu().numpy().astype(np.bool_),
            None if importance is None or settings.rounding == "ecqx" else importance.double().cpu().numpy(),
            choice.codebook_granularity,
        )
        codes = torch.from_numpy(shared).to(weight)
    return codes, scale


def _weigh_bits(
    real: torch.Tensor, choice: LayerChoice, importance: torch.Tensor | None, settings: QuantizerSettings
) -> torch.Tensor:
    relevance = importance if settings.rounding == "ecqx" else None
    if relevance is None and settings.rounding == "ecqx":
        raise CandidateError(
            f'candidate: layer {choice.layer!r}: rounding "ecqx" needs the relevance of weights, which is not known; '
            "order the filters by explorer.relevance(net)"
        )
    return find_entropy_codes(real, code_limit(choice.weight_bits), settings.entropy_rate, relevance)


def attach_codes(module: nn.Conv2d | nn.Linear, codes: torch.Tensor, scale: torch.Tensor) -> None:
    """Store integer codes and scales beside the weight that they stand for."""
    module.register_buffer("weight_codes", codes.to(torch.int8))
    module.register_buffer("weight_scale", scale.float())
    expanded = scale.float().view(-1, *(1,) * (codes.ndim - 1))
    module.weight = nn.Parameter(codes.float() * expanded, requires_grad=False)


def get_codes(module: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the codes and scales of a layer that was compressed."""
    return module.get_buffer("weight_codes"), module.get_buffer("weight_scale")


def has_codes(module: nn.Module) -> TypeGuard[nn.Conv2d | nn.Linear]:
    """Return whether this is a layer that was compressed; one of sequences, no layer of the graph, stays in float."""
    return isinstance(module, nn.Conv2d | nn.Linear) and hasattr(module, "weight_codes")


def quantize_biases(
    model: fx.GraphModule, stepped: Collection[str] = (), settings: QuantizerSettings = NEAREST
) -> None:
    """Round biases to the grid of the 32-bit sums: input scale times weight scale.

    A filter whose bias does not fit in 32 bits on that grid, or none of whose weights is left, is its bias and next to
    nothing else: its scale is set so that the bias fits, or keeps its precision. In a layer of `stepped`, whose coded
    scales and biases count, it is the scale that its filter would have. Powers of two stay powers
    of two, and then only a bias that does not fit changes one.

    Raises:
        NumericalError: Names a layer whose bias is NaN or infinite.
    """
    for node in model.graph.nodes:
        module = model.get_submodule(str(node.target)) if node.op == "call_module" else None
        if module is None or not has_codes(module) or module.bias is None:
            continue
        if not bool(torch.isfinite(module.bias).all()):
            raise NumericalError(
                f"layer {node.target!r}: its bias is NaN or infinite once the batch norm behind it is folded, or the "
                "mean of its output corrected; use more bits, or check the network's outputs on the training images"
            )
        input_scale, limit = input_quantizer(model, node).scale, 2**31 - 1
        weight_codes, scale = module.get_buffer("weight_codes"), module.get_buffer("weight_scale")
        lowest = (module.bias.data.abs() / (input_scale * BIAS_LIMIT)).clamp_min(SMALLEST_SCALE)
        empty = (weight_codes == 0).flatten(1).all(1)
        if str(node.target) in stepped:
            scale = torch.where(scale < lowest, round_significand(2 * lowest), scale)
        elif settings.power_of_two:
            scale = torch.maximum(scale, raise_to_power_of_two(lowest))
        else:
            scale = torch.where(empty, lowest, torch.maximum(scale, lowest))
        attach_codes(module, weight_codes, scale)
        grid = input_scale.double() * scale.double()
        codes = torch.round(module.bias.data.double() / grid).clamp(-limit, limit)
        module.register_buffer("bias_codes", codes.to(torch.int32))
        module.bias = nn.Parameter((codes * grid).float(), requires_grad=False)

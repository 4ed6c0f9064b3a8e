"""What each single choice is estimated to do to the target logit, from relevance: the table behind the seeds."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import LayerChoice, kept_count, levels
from explorer.compress.correction import error_shares, float_moments
from explorer.compress.failures import NUMERICAL, reason_of
from explorer.compress.rounding import Moments
from explorer.compress.weights import compress_weights
from explorer.errors import NumericalError
from explorer.graph.inputs import take
from explorer.graph.layers import ModelGraph
from explorer.graph.modules import layer_module
from explorer.progress import Progress
from explorer.relevance.completion import estimate_filter_losses
from explorer.relevance.scores import Relevance
from explorer.search.space import Axis, SearchSpace

WeightOption = tuple[int, float, int | None, str | None]
"""(weight bits, share of weights kept, codebook size or None, pattern or None)."""
Axes = Mapping[tuple[str, str], Axis]
"""The axes of a space by kind and by what they are of."""
_Option = TypeVar("_Option")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """Estimated squared change of the target logit, by layer and choice.

    `weights[layer][option]` is the sum over weights of (E|G| * dW)^2, with G the DeepLIFT multiplier of a weight
    and dW what the option does to it; `activations[layer][bits]` the sum over input elements of (E|m| * e)^2, with
    m an element's multiplier and e the mean error of the quantiser; `filters[group][share]` the sum of the squared
    relevances of the filters removed, or of their scores where these are losses themselves.

    With adaptive rounding a filter's sum counts by the share of its output error that this rounding leaves.
    An option that cannot be computed loses infinitely; every layer and group has one that can.

    Squares add up because errors of different weights, elements and filters are taken as independent. Summing
    magnitudes instead would let the many small errors of a layer's weights outweigh a removed filter.
    """

    weights: Mapping[str, Mapping[WeightOption, float]]
    activations: Mapping[str, Mapping[int, float]]
    filters: Mapping[str, Mapping[float, float]]


def sensitivity(
    context: CompressionContext, relevance: Relevance, space: SearchSpace, progress: Progress | None = None
) -> Sensitivity:
    """Fill the tables for every value on the axes of the space.

    NumericalError where none of a layer's options of weights can be computed.
    """
    axes: Axes = {(axis.kind, axis.of): axis for axis in space.axes}
    weights: dict[str, dict[WeightOption, float]] = {}
    for index, (layer, given) in enumerate(rounding_moments(context, space)):
        module = layer_module(context.model, layer)
        multipliers = weight_multipliers(context.graph, relevance, layer)
        perturbation = partial(_perturbation, module, layer, multipliers, context, given)
        weights[layer] = losses_of(f"layer {layer!r}: weights", weight_options(axes, layer), perturbation)
        if progress is not None:
            progress(index + 1, len(space.layers))
    losses = estimate_filter_losses(context.graph, relevance)
    filters = {}
    for group in context.graph.prunable:
        ordered = np.array([losses.get(identity, 0.0) for identity in context.order[group.name]])
        shares = [float(value or 0.0) for value in axes["filter_keep_ratio", group.name].values]
        removed = {share: ordered[kept_count(share, group.size) :] for share in shares}
        filters[group.name] = {share: float(losses_of.sum()) for share, losses_of in removed.items()}
    return Sensitivity(weights=weights, activations=_activations(context, relevance, axes), filters=filters)


def losses_of(what: str, options: Iterable[_Option], loss: Callable[[_Option], float]) -> dict[_Option, float]:
    """The loss by each option, infinite where it cannot be computed; NumericalError names `what` where none can be."""
    found: dict[_Option, float] = {}
    reason = "no loss is finite"
    for option in options:
        try:
            value = loss(option)
        except NUMERICAL as error:
            value, reason = math.inf, reason_of(error)
        found[option] = value if math.isfinite(value) else math.inf
    if all(math.isinf(value) for value in found.values()):
        raise NumericalError(f"{what}: none of the {len(found)} options can be computed: {reason}")
    return found


def weight_multipliers(graph: ModelGraph, relevance: Relevance, owner: str) -> NDArray[np.floating]:
    """E|G| of the weights of a layer; over several calls that share them, the root of the sum of squares."""
    calls = [relevance.layer(layer.name).weight_multipliers for layer in graph.layers if layer.chosen_by == owner]
    return calls[0] if len(calls) == 1 else np.sqrt(np.square(calls).sum(0))


def weight_options(axes: Axes, layer: str) -> tuple[WeightOption, ...]:
    """All distinct (bits, share kept, codebook, pattern) of a layer; a codebook that shares nothing is none.

    1-bit weights, which cannot be 0, are not pruned.
    """
    patterns = axes["pattern", layer].values if ("pattern", layer) in axes else (None,)
    options = [
        (
            int(bits or 0),
            1.0 if bits == 1 else float(kept or 0.0),
            size if isinstance(size, int) and size < levels(int(bits or 0)) else None,
            None if pattern is None or bits == 1 else str(pattern),
        )
        for bits in axes["weight_bits", layer].values
        for kept in axes["weight_density", layer].values
        for size in axes["codebook_size", layer].values
        for pattern in patterns
    ]
    return tuple(dict.fromkeys(options))


def rounding_moments(context: CompressionContext, space: SearchSpace) -> Iterator[tuple[str, Moments | None]]:
    """The layers, with the second moments of their inputs where rounding looks at them."""
    if context.quantizer.rounding == "nearest":
        return iter([(layer, None) for layer in space.layers])
    first = take(context.calibration.images, slice(context.quantizer.rounding_images))
    transposed = [layer.name for layer in context.graph.layers if layer.transposed and layer.name in space.layers]
    rounded = float_moments(context.model, first, set(space.layers) - set(transposed))
    return itertools.chain(rounded, ((layer, None) for layer in transposed))


def choice_of(layer: str, option: WeightOption) -> LayerChoice:
    """An option as a layer's choice, at 8-bit activations."""
    bits, kept, size, pattern = option
    return LayerChoice(layer=layer, weight_bits=bits, weight_density=kept, codebook_size=size, pattern=pattern)


def _perturbation(
    module: nn.Conv2d | nn.Linear,
    layer: str,
    multipliers: np.ndarray,
    context: CompressionContext,
    given: Moments | None,
    option: WeightOption,
) -> float:
    choice = choice_of(layer, option)
    copied = copy.deepcopy(module)
    compress_weights(copied, choice, (context.importance or {}).get(layer), context.quantizer.scale_granularity)
    with torch.no_grad():
        change = (copied.weight - module.weight).double().cpu().numpy()
        shares = None if given is None else error_shares(copied, module.weight.data, choice, given).cpu().numpy()
    squares = np.square(change * multipliers).reshape(len(change), -1).sum(1)
    return float((squares if shares is None else squares * shares).sum())


def _activations(context: CompressionContext, relevance: Relevance, axes: Axes) -> dict[str, dict[int, float]]:
    table: dict[str, dict[int, float]] = {}
    for layer in context.graph.layers:
        # What a channel's positions add up to, spread evenly over them.
        positions = layer.input_size[0] * layer.input_size[1]
        per_unit = float(np.square(relevance.layer(layer.name).input_multipliers).sum()) / positions
        errors = context.calibration.errors[layer.source]
        bits = [int(value or 0) for value in axes["activation_bits", layer.chosen_by].values]
        before = table.get(layer.chosen_by, dict.fromkeys(bits, 0.0))  # of an earlier call of the same layer
        table[layer.chosen_by] = {width: before[width] + per_unit * errors[width] ** 2 for width in bits}
    return table

"""What each single choice is estimated to do to the target logit, from relevance: the table behind the seeds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import LayerChoice
from explorer.compress.failures import NUMERICAL, describe_failure
from explorer.compress.moments import Moments, compute_float_moments
from explorer.compress.plan import count_kept
from explorer.compress.problem import compute_error_ratios
from explorer.compress.weights import attach_codes, compress_weights
from explorer.errors import NumericalError
from explorer.graph.inputs import take
from explorer.graph.modules import layer_module
from explorer.graph.torch_private import copy_module
from explorer.progress import Progress
from explorer.relevance.completion import estimate_filter_losses
from explorer.relevance.scores import Relevance, merge_weight_multipliers
from explorer.search.axes import ACTIVATION_BITS, FILTER_KEEP_RATIO
from explorer.search.space import SearchSpace

_Option = TypeVar("_Option")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """Estimated squared change of the target logit, by layer and choice.

    `weights[layer][choice]`, of choices at 8-bit activations, is the sum over weights of (E|G| * dW)^2, with G the
    DeepLIFT multiplier of a weight and dW what the choice does to it; `activations[layer][bits]` the sum over input
    elements of (E|m| * e)^2, with m an element's multiplier and e the mean error of the quantiser;
    `filters[group][ratio]` the sum of the squared relevances of the filters removed, or of their scores where these
    are losses themselves.

    With adaptive rounding a filter's sum counts by the share of its output error that this rounding leaves; at steps,
    of which there are many and where it hardly differs, by that at the middle one.
    An option that cannot be computed loses infinitely; every layer and group has one that can.

    Squares add up because errors of different weights, elements and filters are taken as independent. Summing
    magnitudes instead would let the many small errors of a layer's weights outweigh a removed filter.
    """

    weights: Mapping[str, Mapping[LayerChoice, float]]
    activations: Mapping[str, Mapping[int, float]]
    filters: Mapping[str, Mapping[float, float]]
    depths: Mapping[int, float] = field(default_factory=dict)
    """What is measured to be lost without so many blocks, in the same unit; of no others than the space has."""


def estimate_sensitivity(
    context: CompressionContext, relevance: Relevance, space: SearchSpace, progress: Progress | None = None
) -> Sensitivity:
    """Fill the tables for every value on the axes of the space.

    Raises:
        NumericalError: Where none of a layer's options of weights can be computed.
    """
    weights: dict[str, dict[LayerChoice, float]] = {}
    for index, (layer, given) in enumerate(compute_rounding_moments(context, space)):
        module = layer_module(context.model, layer)
        multipliers = merge_weight_multipliers(context.graph, relevance, layer)
        steady = _shares_at_steps(module, context, given, space.weight_choices(layer))
        perturbation = partial(_perturbation, module, multipliers, context, given, steady)
        weights[layer] = compute_losses(f"layer {layer!r}: weights", space.weight_choices(layer), perturbation)
        if progress is not None:
            progress(index + 1, len(space.layers))
    losses = estimate_filter_losses(context.graph, relevance)
    filters = {}
    for group in context.graph.prunable:
        ordered = np.array([losses.get(identity, 0.0) for identity in context.order[group.name]])
        removed = {
            ratio: ordered[count_kept(ratio, group.size) :] for ratio in space.values(FILTER_KEEP_RATIO, group.name)
        }
        filters[group.name] = {ratio: float(gone.sum()) for ratio, gone in removed.items()}
    return Sensitivity(weights=weights, activations=_activations(context, relevance, space), filters=filters)


def compute_losses(what: str, options: Iterable[_Option], loss: Callable[[_Option], float]) -> dict[_Option, float]:
    """Return the loss by each option, infinite where it cannot be computed.

    Raises:
        NumericalError: Names `what` where none can be.
    """
    found: dict[_Option, float] = {}
    reason = "no loss is finite"
    for option in options:
        try:
            value = loss(option)
        except NUMERICAL as error:
            value, reason = math.inf, describe_failure(error)
        found[option] = value if math.isfinite(value) else math.inf
    if all(math.isinf(value) for value in found.values()):
        raise NumericalError(f"{what}: none of the {len(found)} options can be computed: {reason}")
    return found


def compute_rounding_moments(context: CompressionContext, space: SearchSpace) -> Iterator[tuple[str, Moments | None]]:
    """Yield the layers, with the second moments of their inputs where rounding looks at them."""
    if context.quantizer.rounding != "adaptive":
        return iter([(layer, None) for layer in space.layers])
    first = take(context.calibration.images, slice(context.quantizer.rounding_images))
    transposed = [layer.name for layer in context.graph.layers if layer.transposed and layer.name in space.layers]
    rounded = compute_float_moments(context.model, first, set(space.layers) - set(transposed))
    return itertools.chain(rounded, ((layer, None) for layer in transposed))


def _perturbation(
    module: nn.Conv2d | nn.Linear,
    multipliers: np.ndarray,
    context: CompressionContext,
    given: Moments | None,
    steady: np.ndarray | None,
    choice: LayerChoice,
) -> float:
    copied = _compressed(module, context, choice)
    with torch.no_grad():
        change = (copied.weight - module.weight).double().cpu().numpy()
        shares = steady if choice.step is not None else _shares(context, copied, module, given, choice)
    squares = np.square(change * multipliers).reshape(len(change), -1).sum(1)
    return float((squares if shares is None else squares * shares).sum())


def _compressed(
    module: nn.Conv2d | nn.Linear, context: CompressionContext, choice: LayerChoice
) -> nn.Conv2d | nn.Linear:
    copied = copy_module(module)
    if context.quantizer.fitting == "none":  # candidates have the very same codes
        layer = context.graph.layer(choice.layer)
        kept = frozenset((*layer.output_classes, *layer.input_classes))
        attach_codes(copied, *context.find_static_codes(layer, choice, kept))
    else:
        importance = (context.importance or {}).get(choice.layer)
        compress_weights(copied, choice, importance, context.quantizer, context.step(choice))
    return copied


def _shares(
    context: CompressionContext,
    copied: nn.Conv2d | nn.Linear,
    module: nn.Conv2d | nn.Linear,
    given: Moments | None,
    choice: LayerChoice,
) -> np.ndarray | None:
    """Return the share of each filter's error that adaptive rounding leaves; None where there is no such rounding."""
    if given is None:
        return None
    granularity = context.quantizer.scale_granularity
    return compute_error_ratios(copied, module.weight.data, choice, given, granularity).cpu().numpy()


def _shares_at_steps(
    module: nn.Conv2d | nn.Linear, context: CompressionContext, given: Moments | None, choices: tuple[LayerChoice, ...]
) -> np.ndarray | None:
    stepped = sorted((choice for choice in choices if choice.step is not None), key=lambda choice: choice.step or 0.0)
    if given is None or not stepped:
        return None
    middle = stepped[len(stepped) // 2]
    with torch.no_grad():
        return _shares(context, _compressed(module, context, middle), module, given, middle)


def _activations(context: CompressionContext, relevance: Relevance, space: SearchSpace) -> dict[str, dict[int, float]]:
    table: dict[str, dict[int, float]] = {}
    for layer in context.graph.layers:
        # What a channel's positions add up to, spread evenly over them.
        positions = layer.input_size[0] * layer.input_size[1]
        per_unit = float(np.square(relevance.layer(layer.name).input_multipliers).sum()) / positions
        errors = context.calibration.errors[layer.source]
        bits = space.values(ACTIVATION_BITS, layer.chosen_by)
        before = table.get(layer.chosen_by, dict.fromkeys(bits, 0.0))  # of an earlier call of the same layer
        table[layer.chosen_by] = {width: before[width] + per_unit * errors[width] ** 2 for width in bits}
    return table

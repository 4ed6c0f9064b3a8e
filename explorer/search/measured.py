"""What each single choice does to the outputs, measured: the same table as from relevance, filled by trying it out."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.utils.hooks import RemovableHandle

from explorer.compress.apply import CompressionContext, without_filters
from explorer.compress.calibrate import compute_channel_means
from explorer.compress.candidate import LayerChoice, uniform
from explorer.compress.compensate import compensated_filters
from explorer.compress.correction import correct
from explorer.compress.moments import Moments
from explorer.compress.problem import round_adaptively
from explorer.compress.prune import find_kept_positions
from explorer.compress.quantize import ActivationQuantizer
from explorer.compress.weights import attach_codes, compress_weights, get_codes
from explorer.errors import RelevanceError
from explorer.graph.inputs import Inputs, as_tuple, run
from explorer.graph.modules import layer_module
from explorer.progress import Progress
from explorer.search.axes import ACTIVATION_BITS, FILTER_KEEP_RATIO
from explorer.search.sensitivity import Sensitivity, compute_losses, compute_rounding_moments
from explorer.search.space import SearchSpace


def measure_sensitivity(
    context: CompressionContext, space: SearchSpace, images: Inputs, progress: Progress | None = None
) -> Sensitivity:
    """Fill the tables for every value on the axes with the divergence that this value alone causes.

    It is the Kullback-Leibler divergence, in nats and averaged over `images` (N x ..., or a tuple of inputs), of the
    classes' probabilities from those of the float network; 64 images rank candidates about as well as the accuracy on
    512. A layer whose weights are compressed has the float network's mean outputs put back, as correcting biases and
    batch norms does; filters are removed by the study's own criterion, compensated by moments of the float network if
    the quantiser compensates, and batch norms recalibrated. One forward for each value: seconds for a network of the
    size of ResNet-20, times the number of options. That divergences of single choices add up is assumed, as with
    relevance.

    Raises:
        NumericalError: Where no value of a layer or group can be computed.
    """
    model = copy.deepcopy(context.model).eval()
    scale = _Divergence(model, context.graph.layer_names, images)
    weights: dict[str, dict[LayerChoice, float]] = {}
    activations: dict[str, dict[int, float]] = {}
    filters: dict[str, dict[float, float]] = {}
    compensated = _without_passes(context)
    total = len(space.layers) + len(context.graph.prunable)

    def report() -> None:
        if progress is not None:
            progress(len(weights) + len(filters), total)

    for layer, given in compute_rounding_moments(context, space):
        widths = space.values(ACTIVATION_BITS, layer)
        of_activations = partial(_of_activations, scale, context, layer)
        activations[layer] = compute_losses(f"layer {layer!r}: activations", widths, of_activations)
        of_weights = partial(_of_weights, scale, context, given)
        weights[layer] = compute_losses(f"layer {layer!r}: weights", space.weight_choices(layer), of_weights)
        report()
    for group in context.graph.prunable:
        ratios = space.values(FILTER_KEEP_RATIO, group.name)
        of_filters = partial(_of_filters, scale, compensated, group.name)
        filters[group.name] = compute_losses(f"channel group {group.name!r}: filters", ratios, of_filters)
        report()
    return Sensitivity(weights=weights, activations=activations, filters=filters)


class _Divergence:
    """The divergence of a network from `model` as it is now, and mean outputs of its layers; it may change later."""

    def __init__(self, model: fx.GraphModule, layers: Sequence[str], images: Inputs) -> None:
        self.model, self.images = model, images
        self.torch_device = as_tuple(images)[0].device
        self.means: dict[str, Tensor] = {}
        with ExitStack() as stack:
            for name in layers:
                stack.enter_context(self._recorded(name))
            self.expected = self._logarithms(model)

    def of(self, model: nn.Module) -> float:
        found = self._logarithms(model)
        divergence = float(F.kl_div(found, self.expected, reduction="batchmean", log_target=True))
        return divergence if math.isnan(divergence) else max(0.0, divergence)

    @contextmanager
    def _recorded(self, name: str) -> Iterator[None]:
        def record(module: nn.Module, _: object, output: Tensor) -> None:
            self.means[name] = compute_channel_means(module, [output])

        with _hooked(layer_module(self.model, name).register_forward_hook(record)):
            yield

    def _logarithms(self, model: nn.Module) -> Tensor:
        with torch.no_grad():
            outputs = run(model, self.images)
        if outputs.ndim != 2 or outputs.shape[1] < 2:
            raise RelevanceError(
                f'relevance.sensitivity: "measured_kl" compares the probabilities of classes, received outputs of '
                f'{tuple(outputs.shape)}; take "perturbation"'
            )
        return F.log_softmax(outputs.double(), dim=1)


def _of_weights(scale: _Divergence, context: CompressionContext, given: Moments | None, choice: LayerChoice) -> float:
    """Give all calls of a layer the same codes; only a layer with one call is rounded adaptively, as by `apply`."""
    calls = _calls(context, choice.layer)
    importance = (context.importance or {}).get(choice.layer)
    with ExitStack() as stack:
        for name in calls:
            module = layer_module(scale.model, name)
            weight = stack.enter_context(_restored(module))
            compress_weights(module, choice, importance, context.quantizer, context.step(choice))
            if given is not None and len(calls) == 1:
                codes, granularity = get_codes(module), context.quantizer.scale_granularity
                attach_codes(module, *round_adaptively(weight, choice, given, *codes, granularity))
            stack.enter_context(_mean_kept(module, scale.means[name]))
        return scale.of(scale.model)


def _of_activations(scale: _Divergence, context: CompressionContext, layer: str, bits: int) -> float:
    with ExitStack() as stack:
        for name in _calls(context, layer):
            quantizer = context.calibration.quantizer(context.graph.layer(name).source, bits)
            stack.enter_context(_quantized(layer_module(scale.model, name), quantizer.to(scale.torch_device)))
        return scale.of(scale.model)


def _of_filters(scale: _Divergence, context: CompressionContext, group: str, ratio: float) -> float:
    kept = context.resolve(uniform(context.graph).with_filters({group: ratio})).kept
    if context.quantizer.fitting != "none":
        return scale.of(compensated_filters(context, kept))
    model = without_filters(context, kept)
    model.to(context.calibration.torch_device).eval()
    correct(model, context.calibration, find_kept_positions(context.graph, kept))
    return scale.of(model)


def _without_passes(context: CompressionContext) -> CompressionContext:
    """Return the context that compensates for filters by moments of the float network, where it does at all."""
    settings = context.quantizer
    if settings.fitting != "propagated":
        return context
    return replace(context, quantizer=replace(settings, compensation="static", front_compensation=None))


def _calls(context: CompressionContext, owner: str) -> Sequence[str]:
    """Return the layers that compute with the weights of `owner`, itself among them."""
    return [layer.name for layer in context.graph.layers if layer.chosen_by == owner]


@contextmanager
def _restored(module: nn.Conv2d | nn.Linear) -> Iterator[Tensor]:
    """Let the weight be replaced within it; afterwards it is what it was, and no codes are left."""
    weight = module.weight
    try:
        yield weight.data
    finally:
        module.weight = weight
        for name in ("weight_codes", "weight_scale"):
            if hasattr(module, name):
                delattr(module, name)


@contextmanager
def _quantized(module: nn.Module, quantizer: ActivationQuantizer) -> Iterator[None]:
    """Let a layer, within it, read its input quantised."""
    with _hooked(module.register_forward_pre_hook(lambda _, inputs: (quantizer(inputs[0]), *inputs[1:]))):
        yield


@contextmanager
def _mean_kept(module: nn.Module, mean: Tensor) -> Iterator[None]:
    """Move each channel of the output, within it, to that mean."""

    def move(_: nn.Module, __: object, output: Tensor) -> Tensor:
        shift = mean - compute_channel_means(module, [output])
        return output + shift.view(-1, *(1,) * (0 if isinstance(module, nn.Linear) else output.ndim - 2))

    with _hooked(module.register_forward_hook(move)):
        yield


@contextmanager
def _hooked(handle: RemovableHandle) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()

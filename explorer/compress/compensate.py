"""Solve for the layers of a copy whose filters are removed, in a pass or beforehand, and correct norms and biases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import fx, nn

from explorer.compress.correction import Assign, Compensation, correct
from explorer.compress.moments import Moments
from explorer.compress.problem import LayerProblem, find_fitted_codes
from explorer.compress.prune import copy_network, find_kept_positions, find_positions, remove_filters
from explorer.compress.resolve import ResolvedCandidate
from explorer.compress.weights import attach_codes
from explorer.graph.modules import layer_module

if TYPE_CHECKING:
    from explorer.compress.apply import CompressionContext


def correct_copy(
    model: fx.GraphModule, context: CompressionContext, resolved: ResolvedCandidate, *, integer: bool
) -> None:
    """Solve for layers where the settings ask for it, recalibrate batch norms and correct biases, in place.

    What layers share is corrected for none of them. `integer` and NotFiniteError as for `correct`.
    """

    def assign(name: str, module: nn.Conv2d | nn.Linear, target: torch.Tensor, given: Moments) -> None:
        importance = context.narrow_importance(context.graph.layer(name), resolved.kept)
        choice = resolved.choices[name]
        step = context.step(choice)
        attach_codes(module, *find_fitted_codes(target, choice, given, importance, context.quantizer, step))

    propagated = context.quantizer.fitting == "propagated"
    _correct(model, context, resolved.kept, assign if propagated else None, integer=integer)


def compensated_filters(context: CompressionContext, kept: frozenset[int]) -> fx.GraphModule:
    """Return a float copy with the channel classes that are kept, compensated as the settings ask, and corrected."""
    model = copy_network(context.model)
    remove_filters(model, context.graph, kept)
    model.to(context.calibration.torch_device)

    def assign(name: str, module: nn.Conv2d | nn.Linear, target: torch.Tensor, given: Moments) -> None:
        module.weight = nn.Parameter(target, requires_grad=False)

    propagated = context.quantizer.fitting == "propagated"
    for layer in () if propagated else context.graph.layers:
        layer_module(model, layer.name).weight = nn.Parameter(context.static.solve(layer, kept), requires_grad=False)
    _correct(model, context, kept, assign if propagated else None)
    return model.eval()


def _correct(
    model: fx.GraphModule,
    context: CompressionContext,
    kept: frozenset[int],
    assign: Assign | None,
    *,
    integer: bool = True,
) -> None:
    settings, graph = context.quantizer, context.graph
    shared = {layer.shares_weights for layer in graph.layers}
    means = {}
    if settings.bias_correction:
        for layer in graph.layers:
            if layer.name not in shared and layer.chosen_by == layer.name:
                places = find_positions(layer.output_classes, kept)
                means[layer.name] = context.calibration.outputs[layer.name][places]
    compensation = None
    if assign is not None:
        problems = {
            layer.name: LayerProblem.of(layer_module(context.reference, layer.name), layer, kept)
            for layer in graph.layers
            if layer.name in context.static.solvable
        }
        compensation = Compensation(
            reference=context.reference, problems=problems, assign=assign, num_images=settings.rounding_images
        )
    correct(model, context.calibration, find_kept_positions(graph, kept), means, compensation, integer=integer)

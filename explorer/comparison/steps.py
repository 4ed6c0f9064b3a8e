"""Steps of weights for an average entropy: over a criterion's multipliers, or the same in all layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import fx

from explorer.comparison.points import ComparisonCell
from explorer.comparison.sample import ComputeRelevance
from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, uniform
from explorer.compress.quantize import code_limit
from explorer.evaluate.weight_entropy import WeightEntropies, count_entropies
from explorer.graph.layers import ModelGraph
from explorer.graph.modules import layer_module
from explorer.relevance.scores import compute_step_units
from explorer.settings.values import MAXIMUM_BITS
from explorer.study.relevance import measure_weight_relevance

RULES = ("nearest", "ecq", "ecqx")
HALVINGS = 20
"""Of the range of steps, from where nothing is lost to where next to nothing is left: to a thousandth of a bit."""


def with_units(context: CompressionContext, cell: ComparisonCell, compute: ComputeRelevance) -> CompressionContext:
    """Return the context whose steps a criterion decides: over the multipliers of a layer, or the same ("equal").

    A rule of RULES takes DeepLIFT's steps, and chooses integers in another way than the study's.
    """
    graph = context.graph
    if cell.criterion in RULES:
        relevance, quantizer = compute("deeplift", cell.seed), replace(context.quantizer, rounding=cell.criterion)
        importance = measure_weight_relevance(context.model, graph, relevance)
        units = compute_step_units(graph, relevance)
        return replace(context, step_units=units, quantizer=quantizer, importance=importance)
    if cell.criterion == "equal":
        return replace(context, step_units=dict.fromkeys(graph.layer_names, 1.0))
    return replace(context, step_units=compute_step_units(graph, compute(cell.criterion, cell.seed)))


def build_at_entropy(context: CompressionContext, average_bits: float) -> tuple[Candidate, fx.GraphModule]:
    """Return the network whose integers have about so many bits a weight, coded at their entropy, and its candidate.

    One step, over each layer's unit, serves all layers. It is found without images, and where that is not exact,
    since rounding is adaptive, corrected once by what a first network has; activations have 8 bits.
    """
    entropies = WeightEntropies(context)

    def estimate(step: float) -> float:
        return average(context.graph, entropies.of_candidate(with_step(context.graph, step)))

    wanted = average_bits
    candidate = with_step(context.graph, fit_step(context, estimate, wanted))
    model = apply(context, candidate)
    if context.quantizer.rounding == "adaptive":
        wanted *= wanted / measure_average(context, model)
        candidate = with_step(context.graph, fit_step(context, estimate, wanted))
        model = apply(context, candidate)
    return candidate, model


def fit_step(context: CompressionContext, estimate: Callable[[float], float], average_bits: float) -> float:
    """Return the step whose integers have so many bits on average, by an estimate that falls with the step."""
    units = context.step_units or {}
    peaks = [
        float(layer_module(context.model, name).weight.detach().abs().max()) * unit for name, unit in units.items()
    ]
    smallest = min(peak for peak in peaks if peak > 0) / code_limit(MAXIMUM_BITS)
    low, high = math.log(smallest), math.log(2 * max(peaks))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if estimate(math.exp(middle)) > average_bits else (low, middle)
    return math.exp((low + high) / 2)


def with_step(graph: ModelGraph, step: float) -> Candidate:
    """Return the candidate with the same step in all layers."""
    plain = uniform(graph)
    return replace(plain, layers=tuple(replace(choice, step=step) for choice in plain.layers))


def average(graph: ModelGraph, entropies: Mapping[str, float]) -> float:
    """Return bits a weight over all layers, those that share weights counted once."""
    sizes = {layer.name: layer.weights for layer in graph.layers if layer.chosen_by == layer.name}
    return sum(size * entropies[name] for name, size in sizes.items()) / sum(sizes.values())


def measure_average(context: CompressionContext, model: fx.GraphModule) -> float:
    """Return bits a weight of the integers that a network has."""
    return average(context.graph, count_entropies(model, context.graph))

"""Steps of weights for an average entropy: over a criterion's multipliers, or the same in all layers; or widths."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import fx

from explorer.comparison.bits import ACTIVATION_BITS, compute_budget, make_width_space
from explorer.comparison.points import ComparisonCell
from explorer.comparison.sample import ComputeRelevance
from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, uniform
from explorer.compress.quantize import code_limit
from explorer.compress.step_units import with_step_units
from explorer.evaluate.weight_entropy import WeightEntropies, count_entropies
from explorer.graph.layers import ModelGraph
from explorer.graph.modules import layer_module
from explorer.relevance.scores import Relevance, compute_step_units
from explorer.search.allocation import fit_bits
from explorer.search.sensitivity import estimate_sensitivity
from explorer.settings.comparison import WIDTHS
from explorer.settings.values import MAXIMUM_BITS
from explorer.study.prepare import PreparedStudy
from explorer.study.relevance import measure_weight_relevance

RULES = ("nearest", "ecq", "ecqx")
WIDTH_HALVINGS = 10
"""Of the range of average widths: to less than a hundredth of a bit."""
Choose = Callable[[float], Candidate]
"""Gives the candidate of an average entropy."""
HALVINGS = 20
"""Of the range of steps, from where nothing is lost to where next to nothing is left: to a thousandth of a bit."""


def with_units(context: CompressionContext, cell: ComparisonCell, compute: ComputeRelevance) -> CompressionContext:
    """Return the context whose steps a criterion decides: over the multipliers of a layer, or the same ("equal").

    What error feedback leaves of an error weighs them all alike, "equal" and "random" too: it is of the layers' inputs,
    and no criterion knows of it, so that criteria differ in nothing but what they say that an error counts. A rule of
    RULES takes DeepLIFT's steps, and chooses integers in another way than the study's; no errors are fed back there.
    """
    graph = context.graph
    if cell.criterion in RULES:
        relevance, quantizer = compute("deeplift", cell.seed), replace(context.quantizer, rounding=cell.criterion)
        importance = measure_weight_relevance(context.model, graph, relevance)
        ruled = replace(context, quantizer=quantizer, importance=importance)
        return with_step_units(ruled, compute_step_units(graph, relevance))
    if cell.criterion == "equal":
        return with_step_units(context, dict.fromkeys(graph.layer_names, 1.0))
    return with_step_units(context, compute_step_units(graph, compute(cell.criterion, cell.seed)))


def build_at_entropy(context: CompressionContext, average_bits: float, choose: Choose | None = None) -> fx.GraphModule:
    """Return the network whose integers have about so many bits a weight, coded at their entropy.

    It is found without images, and where that is not exact, since rounding is adaptive, corrected once by what a first
    network has; activations have 8 bits.

    Args:
        choose: Gives the candidate of an average; one step, over each layer's unit, for all layers by default.
    """
    estimate = _make_estimate(context)

    def choose_step(wanted: float) -> Candidate:
        graph = context.graph
        return with_step(graph, fit_step(context, lambda step: estimate(with_step(graph, step)), wanted))

    choose = choose or choose_step
    model = apply(context, choose(average_bits))
    if context.quantizer.rounding == "adaptive":
        return apply(context, choose(average_bits**2 / measure_average(context, model)))
    return model


def make_choose_widths(prepared: PreparedStudy, relevance: Relevance) -> Choose:
    """Return what chooses widths, and a scale for each filter, by the knapsack over a relevance's estimates."""
    graph, estimate = prepared.context.graph, _make_estimate(prepared.context)
    table = estimate_sensitivity(prepared.context, relevance, make_width_space(prepared))
    plain = uniform(graph, activation_bits=ACTIVATION_BITS)

    def choose(wanted: float) -> Candidate:
        low, high = WIDTHS
        for _ in range(WIDTH_HALVINGS):
            middle = (low + high) / 2
            fitted = fit_bits(graph, table, plain, compute_budget(prepared, middle))
            low, high = (low, middle) if estimate(fitted) > wanted else (middle, high)
        return fit_bits(graph, table, plain, compute_budget(prepared, low))

    return choose


def _make_estimate(context: CompressionContext) -> Callable[[Candidate], float]:
    """Return what gives a candidate's bits a weight, as far as they are known without images."""
    entropies = WeightEntropies(context)
    return lambda candidate: average(context.graph, entropies.of_candidate(candidate))


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

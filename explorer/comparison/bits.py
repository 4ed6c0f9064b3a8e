"""Widths of weights for an average: by the knapsack over a criterion's estimates, or by a simple rule."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from explorer.comparison.points import ComparisonCell
from explorer.comparison.sample import ComputeRelevance, seeded_sample
from explorer.compress.candidate import Candidate, uniform
from explorer.compress.plan import plan
from explorer.errors import StudyFileError
from explorer.graph.layers import ModelGraph
from explorer.relevance.scores import Relevance
from explorer.search.allocation import fit_bits
from explorer.search.axes import WEIGHT_BITS
from explorer.search.measured import measure_sensitivity
from explorer.search.sensitivity import estimate_sensitivity
from explorer.search.space import SearchSpace, make_search_space
from explorer.settings import LayerSpace, SpaceSettings
from explorer.settings.rules import refused
from explorer.study.prepare import PreparedStudy

ACTIVATION_BITS = 8


def choose_widths(prepared: PreparedStudy, cell: ComparisonCell, compute_relevance: ComputeRelevance) -> Candidate:
    """Return the candidate of a cell; its `weight_bytes` are at most those of the average width over all weights."""
    graph = prepared.context.graph
    if cell.criterion == "uniform":
        return fit_uniform(prepared, cell.level)
    if cell.criterion == "proportional":
        widths = prepared.study.space.weight_bits
        return choose_in_proportion(graph, compute_relevance("deeplift", cell.seed), cell.level, widths)
    space = make_width_space(prepared)
    if cell.criterion == "measured_kl":
        table = measure_sensitivity(prepared.context, space, seeded_sample(prepared, cell.seed).inputs)
    else:
        table = estimate_sensitivity(prepared.context, compute_relevance(cell.criterion, cell.seed), space)
    return fit_bits(graph, table, uniform(graph, activation_bits=ACTIVATION_BITS), compute_budget(prepared, cell.level))


def compute_budget(prepared: PreparedStudy, average_bits: float) -> int:
    """Return bytes of all weights at an average width, each layer's rounded up."""
    graph = prepared.context.graph
    sizes = {layer.chosen_by: layer.weights for layer in graph.layers}
    return int(sum(-(-size * average_bits // 8) for size in sizes.values()))


def refuse_unreachable(prepared: PreparedStudy) -> None:
    """Raise StudyFileError where the study's widths cannot have an average that [comparison] asks for."""
    space = make_width_space(prepared)
    sizes = {layer.chosen_by: layer.weights for layer in prepared.context.graph.layers}
    least, most = (
        sum(size * bound(space.values(WEIGHT_BITS, layer)) for layer, size in sizes.items()) / sum(sizes.values())
        for bound in (min, max)
    )
    stray = [level for level in prepared.study.comparison.at_levels if not least <= level <= most]
    if stray:
        text = f"averages of {least:g}..{most:g} bits, which the widths in [space] can have"
        raise StudyFileError((str(refused("comparison.levels", text, stray)),))


def fit_uniform(prepared: PreparedStudy, average_bits: float) -> Candidate:
    """Return the same width everywhere; for an average between two the wider one in the first layers.

    Widths that the study's space does not have are used, too.
    """
    graph, limit = prepared.context.graph, compute_budget(prepared, average_bits)
    found = uniform(graph, int(average_bits), ACTIVATION_BITS)
    if average_bits == int(average_bits):
        return found
    for index in range(len(found.layers)):
        wider = tuple(
            replace(choice, weight_bits=int(average_bits) + (position <= index))
            for position, choice in enumerate(found.layers)
        )
        candidate = replace(found, layers=wider)
        if plan(graph, candidate).weight_bytes > limit:
            break
        found = candidate
    return found


def choose_in_proportion(
    graph: ModelGraph, relevance: Relevance, average_bits: float, widths: Sequence[int] = tuple(range(2, 9))
) -> Candidate:
    """Return widths of weights in proportion to each layer's total relevance: the naive rule.

    The total is the sum of the layer's filter scores, over its calls where several share weights; the width is that
    total times one factor for all layers, rounded to the nearest of `widths`. The factor is the largest with which
    the average width over all weights is at most `average_bits`, or 0 where none is. A total says how much goes
    through a layer, not what an error of its weights does: the rule starves small layers (see the mixed-precision
    study).
    """
    widths = sorted(widths)
    totals = dict.fromkeys(graph.weight_owners, 0.0)
    for layer in graph.layers:
        totals[layer.chosen_by] += float(relevance.layer(layer.name).filter_scores.sum())
    sizes = {layer.name: layer.weights for layer in graph.layers if layer.name in totals}
    middles = [(narrow + wide) / 2 for narrow, wide in itertools.pairwise(widths)]

    def rounded(factor: float) -> dict[str, int]:
        return {name: widths[bisect.bisect_right(middles, factor * total)] for name, total in totals.items()}

    factors = {
        float(np.nextafter(middle / total, np.inf)) for middle in middles for total in totals.values() if total > 0
    }
    kept = 0.0
    for factor in sorted(factors):
        bits = rounded(factor)
        if sum(sizes[name] * bits[name] for name in sizes) > average_bits * sum(sizes.values()):
            break
        kept = factor
    chosen = rounded(kept)
    start = uniform(graph)
    return replace(start, layers=tuple(replace(choice, weight_bits=chosen[choice.layer]) for choice in start.layers))


def make_width_space(prepared: PreparedStudy) -> SearchSpace:
    """Return the study's widths of weights; nothing is pruned or shared, and activations have 8 bits."""
    own = prepared.study.space
    layers = tuple(
        LayerSpace(layer=entry.layer, weight_bits=entry.weight_bits) for entry in own.layers if entry.weight_bits
    )
    settings = SpaceSettings(weight_bits=own.weight_bits, activation_bits=(ACTIVATION_BITS,), layers=layers)
    return make_search_space(prepared.context.graph, settings)

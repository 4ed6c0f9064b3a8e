"""What to choose for each layer or channel group so that a budget is kept and the estimated loss is least."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from explorer.compress.candidate import Candidate, LayerChoice, uniform
from explorer.compress.plan import plan
from explorer.graph.layers import ModelGraph
from explorer.relevance.scores import Relevance
from explorer.search.knapsack import solve_knapsack
from explorer.search.options import PriceCandidate, front_on
from explorer.search.sensitivity import Sensitivity

STRIDES = 200
"""Points of a front, evenly spread, of which it is asked first whether they keep a budget."""


def weight_bytes(graph: ModelGraph, candidate: Candidate) -> int:
    """Bytes of all weights at their widths, each layer's packed and rounded up, scales and biases aside."""
    return sum(-(-layer.num_weights * layer.weight_bits // 8) for layer in plan(graph, candidate).layers)


def macs(graph: ModelGraph, candidate: Candidate) -> int:
    """Multiply-accumulate operations of all layers for one image."""
    weights = {layer.name: layer.num_weights for layer in plan(graph, candidate).layers}
    return sum(weights[layer.name] * layer.output_size[0] * layer.output_size[1] for layer in graph.layers)


def with_bits_within(graph: ModelGraph, table: Sensitivity, candidate: Candidate, budget_bytes: int) -> Candidate:
    """The candidate with the widths of weights of least estimated loss whose `weight_bytes` keep the budget.

    The exact knapsack over the widths in the table's rows that neither prune nor share; the narrowest widths where
    even these exceed the budget.
    """
    sizes = {layer.name: layer.num_weights for layer in plan(graph, candidate).layers}
    options = {
        name: {option.weight_bits: loss for option, loss in table.weights[name].items() if _only_quantised(option)}
        for name in (choice.layer for choice in candidate.layers)
    }
    costs = [np.array([-(-sizes[layer] * bits // 8) for bits in widths], float) for layer, widths in options.items()]
    losses = [np.array(list(widths.values())) for widths in options.values()]
    solved = solve_knapsack(costs, losses)
    chosen = solved.choices[solved.within(budget_bytes)]
    layers = tuple(
        replace(choice, weight_bits=list(options[choice.layer])[option])
        for choice, option in zip(candidate.layers, chosen, strict=True)
    )
    return replace(candidate, layers=layers)


def with_filters_within(
    table: Sensitivity, candidate: Candidate, price_candidate: PriceCandidate, budget: float
) -> Candidate:
    """The candidate with the filters removed of least estimated loss whose cost keeps the budget.

    A knapsack over the shares in the table prices each group alone; of its solutions, in ascending order of loss, the
    first that keeps the budget as a whole is taken, and the last where none does.
    """
    groups = [name for name, _ in candidate.filter_keep_ratio]
    base = price_candidate(candidate)
    shares = [list(table.filters[group]) for group in groups]

    def with_shares(chosen: Mapping[str, float]) -> Candidate:
        return replace(candidate, filter_keep_ratio=tuple((name, chosen.get(name, 1.0)) for name in groups))

    costs = [
        np.array([price_candidate(with_shares({group: share})) - base for share in options])
        for group, options in zip(groups, shares, strict=True)
    ]
    losses = [np.array([table.filters[group][share] for share in table.filters[group]]) for group in groups]
    solved = solve_knapsack(costs, losses)

    def at(point: int) -> Candidate:
        options = solved.choices[point]
        return with_shares({group: shares[i][options[i]] for i, group in enumerate(groups)})

    return _best_within(at, len(solved.costs), price_candidate, budget, strides=len(solved.costs))


def with_choices_within(
    table: Sensitivity, start: Candidate, price_candidate: PriceCandidate, budget: float
) -> Candidate:
    """The candidate with the choices for its layers of least estimated loss whose cost keeps the budget.

    `price_candidate` is any one cost, such as the energy or the latency that the device model says; the choices are all
    that the table holds, of weights and of activations, on the filters of `start`. The exact knapsack prices each
    option alone (with all other layers as in `start`, best at their widest); since real costs are not quite the sum
    of these, its solutions are asked in ascending order of loss for the first that keeps the budget as a whole, the
    cheapest where none does.
    """
    front = front_on(table, start, price_candidate)
    return _best_within(front.candidate, len(front.solved.costs), price_candidate, budget)


def bits_in_proportion(
    graph: ModelGraph, relevance: Relevance, average_bits: float, widths: Sequence[int] = tuple(range(2, 9))
) -> Candidate:
    """Widths of weights in proportion to each layer's total relevance: the naive rule, for comparison.

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


def _best_within(
    at: Callable[[int], Candidate], count: int, price_candidate: PriceCandidate, budget: float, strides: int = STRIDES
) -> Candidate:
    """Of `count` candidates in descending order of loss the last that keeps the budget; the first where none does.

    At first about `strides` points are looked at, then all between the last of these that keeps the budget and the
    next: a device model takes long for thousands of points, whose costs hardly ever rise where the sum falls.
    """
    stride = max(1, count // strides)
    coarse = next((point for point in range(count - 1, -1, -stride) if price_candidate(at(point)) <= budget), None)
    if coarse is None:
        coarse = 0
    for point in range(min(count, coarse + stride) - 1, coarse, -1):
        if price_candidate(at(point)) <= budget:
            return at(point)
    return at(coarse)


def _only_quantised(choice: LayerChoice) -> bool:
    """True where a layer's weights have a width and nothing else: they are neither pruned nor shared."""
    return choice == LayerChoice(layer=choice.layer, weight_bits=choice.weight_bits)

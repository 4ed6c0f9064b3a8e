"""What to choose for each layer or channel group so that a budget is kept and the estimated loss is least."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from explorer.compress.candidate import Candidate
from explorer.compress.plan import plan
from explorer.graph.layers import ModelGraph
from explorer.search.knapsack import trades
from explorer.search.sensitivity import Sensitivity, WeightOption


def weight_bytes(graph: ModelGraph, candidate: Candidate) -> int:
    """Bytes of all weights at their widths, each layer's packed and rounded up, scales and biases aside."""
    return sum(-(-layer.weights * layer.weight_bits // 8) for layer in plan(graph, candidate).layers)


def macs(graph: ModelGraph, candidate: Candidate) -> int:
    """Multiply-accumulate operations of all layers for one image."""
    weights = {layer.name: layer.weights for layer in plan(graph, candidate).layers}
    return sum(weights[layer.name] * layer.output_size[0] * layer.output_size[1] for layer in graph.layers)


def with_bits_within(graph: ModelGraph, table: Sensitivity, candidate: Candidate, budget_bytes: int) -> Candidate:
    """The candidate with the widths of weights of least estimated loss whose `weight_bytes` keep the budget.

    The exact knapsack over the widths in the table's rows that neither prune nor share; the narrowest widths where
    even these exceed the budget.
    """
    sizes = {layer.name: layer.weights for layer in plan(graph, candidate).layers}
    options = {
        choice.layer: {option[0]: loss for option, loss in table.weights[choice.layer].items() if _whole(option)}
        for choice in candidate.layers
    }
    costs = [np.array([-(-sizes[layer] * bits // 8) for bits in widths], float) for layer, widths in options.items()]
    losses = [np.array(list(widths.values())) for widths in options.values()]
    solved = trades(costs, losses)
    chosen = solved.choices[solved.within(budget_bytes)]
    layers = tuple(
        replace(choice, weight_bits=list(options[choice.layer])[option])
        for choice, option in zip(candidate.layers, chosen, strict=True)
    )
    return replace(candidate, layers=layers)


def with_filters_within(
    table: Sensitivity, candidate: Candidate, cost_of: Callable[[Candidate], float], budget: float
) -> Candidate:
    """The candidate with the filters removed of least estimated loss whose cost keeps the budget.

    A knapsack over the shares in the table prices each group alone; of its solutions, in ascending order of loss, the
    first that keeps the budget as a whole is taken, and the last where none does.
    """
    groups = [name for name, _ in candidate.kept_filters]
    base = cost_of(candidate)
    shares = [list(table.filters[group]) for group in groups]

    def with_shares(chosen: Mapping[str, float]) -> Candidate:
        return replace(candidate, kept_filters=tuple((name, chosen.get(name, 1.0)) for name in groups))

    costs = [
        np.array([cost_of(with_shares({group: share})) - base for share in options])
        for group, options in zip(groups, shares, strict=True)
    ]
    losses = [np.array([table.filters[group][share] for share in table.filters[group]]) for group in groups]
    solved = trades(costs, losses)
    for point in reversed(range(len(solved.costs))):
        options = solved.choices[point]
        found = with_shares({group: shares[i][options[i]] for i, group in enumerate(groups)})
        if cost_of(found) <= budget:
            return found
    return found


def _whole(option: WeightOption) -> bool:
    """True where weights are neither pruned nor shared."""
    return option[1] == 1.0 and not any(option[2:])

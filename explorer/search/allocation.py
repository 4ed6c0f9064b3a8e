"""What to choose for each layer or channel group so that a budget is kept and the estimated loss is least."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.compress.plan import plan
from explorer.graph.layers import ModelGraph
from explorer.search.knapsack import solve_knapsack
from explorer.search.options import PriceCandidate
from explorer.search.sensitivity import Sensitivity


def fit_bits(graph: ModelGraph, table: Sensitivity, candidate: Candidate, budget_bytes: int) -> Candidate:
    """Return the candidate with the widths of weights of least estimated loss whose `weight_bytes` keep the budget.

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


def fit_filters(table: Sensitivity, candidate: Candidate, price_candidate: PriceCandidate, budget: float) -> Candidate:
    """Return the candidate with the filters removed of least estimated loss whose cost keeps the budget.

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

    kept = (at(point) for point in range(len(solved.costs) - 1, -1, -1))
    return next((found for found in kept if price_candidate(found) <= budget), at(0))


def _only_quantised(choice: LayerChoice) -> bool:
    """Return True where a layer's weights have a width and nothing else: they are neither pruned nor shared."""
    return choice == LayerChoice(layer=choice.layer, weight_bits=choice.weight_bits)

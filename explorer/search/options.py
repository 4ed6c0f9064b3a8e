"""The options of every layer of a network, each priced alone, and the front of all their combinations."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from explorer.arrays import Float64Array
from explorer.compress.candidate import Candidate, LayerChoice
from explorer.pareto import ascending_front
from explorer.search.knapsack import ParetoSolutions, solve_knapsack
from explorer.search.sensitivity import Sensitivity

PriceCandidates = Callable[[Sequence[Candidate]], Sequence[float]]
"""What each of some candidates costs, one number."""
PriceCandidate = Callable[[Candidate], float]
"""What a candidate costs, one number."""
_Entry = tuple[LayerChoice, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerOptions:
    """Undominated options of one layer, with what each costs and loses."""

    layer: str
    choices: tuple[LayerChoice, ...]
    costs: Float64Array
    losses: Float64Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerFront:
    """A network with its filters, what it costs, and the front of all other choices on it."""

    start: Candidate
    base_cost: float
    options: tuple[LayerOptions, ...]
    solved: ParetoSolutions

    def candidate(self, index: int) -> Candidate:
        """Return the candidate at a point of the front."""
        chosen = zip(self.options, self.solved.choices[index].tolist(), strict=True)
        return replace(self.start, layers=tuple(option.choices[which] for option, which in chosen))


def one_by_one(price_candidate: PriceCandidate) -> PriceCandidates:
    """Return the function that prices some candidates, each by itself."""
    return lambda candidates: [price_candidate(candidate) for candidate in candidates]


def solve_front(table: Sensitivity, start: Candidate, price_candidates: PriceCandidates) -> LayerFront:
    """Return the front of cost and estimated loss over the table's options of all layers, on the filters of `start`.

    What an option costs is the change of its price when one layer of `start` alone takes it.
    """
    (base,) = price_candidates([start])
    options = price_options([choice.layer for choice in start.layers], table, price_candidates, start, base)
    solved = solve_knapsack([option.costs for option in options], [option.losses for option in options])
    return LayerFront(start=start, base_cost=base, options=options, solved=solved)


def price_options(
    layers: Sequence[str], table: Sensitivity, price_candidates: PriceCandidates, start: Candidate, base: float
) -> tuple[LayerOptions, ...]:
    """Return the options of each layer that none beats in cost and loss; each is priced once or twice.

    What a width of the weights saves may depend on that of the inputs: a device that computes at the wider of both
    saves nothing by one alone. Options of weights are therefore compared at the start's and at the narrowest input.
    """
    own = dict(zip(layers, start.choices(layers), strict=True))
    inputs = {layer: table.activations.get(layer) or {own[layer].activation_bits: 0.0} for layer in layers}
    weights = {layer: list(table.weights[layer].items()) for layer in layers}

    def price(lists: Sequence[Sequence[LayerChoice]]) -> Iterator[list[float]]:
        """Return what lists of choices cost beyond the base, all priced together."""
        each = [start.with_choice(choice) for choices in lists for choice in choices]
        costs = iter([cost - base for cost in price_candidates(each)])
        return (list(itertools.islice(costs, len(choices))) for choices in lists)

    widths = {layer: dict.fromkeys((own[layer].activation_bits, min(inputs[layer]))) for layer in layers}
    tried = [(layer, bits) for layer in layers for bits in widths[layer]]
    at_widths = price([[replace(choice, activation_bits=bits) for choice, _ in weights[of]] for of, bits in tried])
    kept: dict[str, dict[LayerChoice, float]] = {layer: {} for layer in layers}
    for (layer, _), costs in zip(tried, at_widths, strict=True):
        kept[layer] |= {weights[layer][i][0]: weights[layer][i][1] for i in _front(weights[layer], costs)}
    both = [
        [
            (replace(choice, activation_bits=bits), loss + more)
            for choice, loss in kept[layer].items()
            for bits, more in inputs[layer].items()
        ]
        for layer in layers
    ]
    found = []
    for layer, entries, costs in zip(
        layers, both, price([[choice for choice, _ in each] for each in both]), strict=True
    ):
        chosen = _front(entries, costs)
        found.append(
            LayerOptions(
                layer=layer,
                choices=tuple(entries[i][0] for i in chosen),
                costs=np.array([costs[i] for i in chosen]),
                losses=np.array([entries[i][1] for i in chosen]),
            )
        )
    return tuple(found)


def _front(entries: Sequence[_Entry], costs: Sequence[float]) -> list[int]:
    """Return indices of what no other entry beats in cost and loss, ascending in cost; none of infinite loss."""
    losses = np.array([loss for _, loss in entries])
    finite = np.flatnonzero(np.isfinite(losses))
    return [int(index) for index in finite[ascending_front(np.array(costs)[finite], losses[finite])]]

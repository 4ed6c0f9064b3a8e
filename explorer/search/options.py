"""The options of every layer of a network, each priced alone, and the front of all their combinations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from explorer.arrays import Float64Array
from explorer.compress.candidate import Candidate, LayerChoice
from explorer.pareto import ascending_front
from explorer.progress import Progress
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


def solve_front(
    table: Sensitivity, start: Candidate, price_candidates: PriceCandidates, progress: Progress | None = None
) -> LayerFront:
    """Return the front of cost and estimated loss over the table's options of all layers, on the filters of `start`.

    What an option costs is the change of its price when one layer of `start` alone takes it.
    """
    (base,) = price_candidates([start])
    options = []
    for index, choice in enumerate(start.layers):
        if progress is not None:
            progress(index, len(start.layers))
        options.append(price_options(choice.layer, table, price_candidates, start, base))
    solved = solve_knapsack([option.costs for option in options], [option.losses for option in options])
    return LayerFront(start=start, base_cost=base, options=tuple(options), solved=solved)


def price_options(
    layer: str, table: Sensitivity, price_candidates: PriceCandidates, start: Candidate, base: float
) -> LayerOptions:
    """Return the options of a layer that none beats in cost and loss; each is priced once or twice.

    What a width of the weights saves may depend on that of the inputs: a device that computes at the wider of both
    saves nothing by one alone. Options of weights are therefore compared at the start's and at the narrowest input.
    """
    own = start.choice(layer)
    inputs: Mapping[int, float] = table.activations.get(layer) or {own.activation_bits: 0.0}

    def costs(choices: Sequence[LayerChoice]) -> list[float]:
        return [price - base for price in price_candidates([start.with_choice(choice) for choice in choices])]

    weights = list(table.weights[layer].items())
    kept: dict[LayerChoice, float] = {}
    for bits in dict.fromkeys((own.activation_bits, min(inputs))):
        at_width = costs([replace(choice, activation_bits=bits) for choice, _ in weights])
        kept |= {weights[i][0]: weights[i][1] for i in _front(weights, at_width)}
    both = [
        (replace(choice, activation_bits=bits), loss + more)
        for choice, loss in kept.items()
        for bits, more in inputs.items()
    ]
    prices = costs([choice for choice, _ in both])
    chosen = _front(both, prices)
    return LayerOptions(
        layer=layer,
        choices=tuple(both[i][0] for i in chosen),
        costs=np.array([prices[i] for i in chosen]),
        losses=np.array([both[i][1] for i in chosen]),
    )


def _front(entries: Sequence[_Entry], costs: Sequence[float]) -> list[int]:
    """Return indices of what no other entry beats in cost and loss, ascending in cost; none of infinite loss."""
    losses = np.array([loss for _, loss in entries])
    finite = np.flatnonzero(np.isfinite(losses))
    return [int(index) for index in finite[ascending_front(np.array(costs)[finite], losses[finite])]]

"""Candidates to start a search from: relevance decides where to save, a knapsack how much, for many budgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.search.knapsack import Trades, trades
from explorer.search.sensitivity import Sensitivity, WeightOption
from explorer.search.space import SearchSpace

CostOf = Callable[[Candidate], float]
"""What a candidate costs on the device, one number: the objectives other than accuracy, weighed equally."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A candidate to start from, and in words where it comes from."""

    candidate: Candidate
    origin: str


@dataclass(frozen=True, slots=True)
class _Options:
    """Undominated options of one layer, with what each costs and loses."""

    layer: str
    choices: tuple[LayerChoice, ...]
    costs: np.ndarray
    losses: np.ndarray


def relevance_seeds(space: SearchSpace, table: Sensitivity, cost_of: CostOf, count: int) -> tuple[Seed, ...]:
    """At most `count` distinct seeds: the widest point of the space, then the relevance knapsack.

    A knapsack over the channel groups removes filters down to a few levels of cost; on each of these networks
    a knapsack over the layers chooses bits, weights kept and codebooks for a range of budgets. Costs are what
    the device model says of changing one choice alone.
    """
    widest = _widest(space)
    seeds = [Seed(candidate=widest, origin="seed widest")]
    levels = 1 if count <= 4 else (2 if count <= 8 else 4)
    per_level, more = divmod(count - 1, levels)
    for level, (share, start) in enumerate(_filter_levels(space, table, cost_of, widest, levels)):
        solved, options = _bit_trades(space, table, cost_of, start)
        for budget in _budgets(solved, per_level + (level < more)):
            chosen = solved.choices[solved.within(budget)]
            layers = tuple(option.choices[index] for option, index in zip(options, chosen.tolist(), strict=True))
            origin = f"seed relevance: filters {share:.0%}, level {level + 1}"
            seeds.append(Seed(candidate=replace(start, layers=layers), origin=origin))
    distinct = {space.candidate(space.point(seed.candidate)).digest(): seed for seed in reversed(seeds)}
    return tuple(reversed(distinct.values()))[:count]


def _widest(space: SearchSpace) -> Candidate:
    """The point with the most bits, all filters and weights, and no codebook where that is admissible."""
    indices = {
        axis.name: 0 if axis.kind == "codebook_size" and axis.values[0] is None else len(axis.values) - 1
        for axis in space.axes
    }
    return space.candidate(indices)


def _filter_levels(
    space: SearchSpace, table: Sensitivity, cost_of: CostOf, widest: Candidate, levels: int
) -> list[tuple[float, Candidate]]:
    """(cost left as a share of the widest network's, candidate with filters removed), the widest first."""
    found = [(1.0, widest)]
    groups = [axis for axis in space.axes if axis.kind == "kept_filters" and len(axis.values) > 1]
    if not groups or levels == 1:
        return found
    base = cost_of(widest)
    costs, losses = [], []
    for axis in groups:
        alone = [_with_share(widest, axis.of, float(value or 0.0)) for value in axis.values]
        costs.append(np.array([cost_of(candidate) - base for candidate in alone]))
        losses.append(np.array([table.filters[axis.of][float(value or 0.0)] for value in axis.values]))
    solved = trades(costs, losses)
    for step in range(1, levels):
        index = solved.within(solved.costs[0] * step / levels)
        candidate = widest
        for axis, option in zip(groups, solved.choices[index].tolist(), strict=True):
            candidate = _with_share(candidate, axis.of, float(axis.values[option] or 0.0))
        found.append((cost_of(candidate) / base, candidate))
    return found


def _with_share(candidate: Candidate, group: str, share: float) -> Candidate:
    kept = tuple((name, share if name == group else own) for name, own in candidate.kept_filters)
    return replace(candidate, kept_filters=kept)


def _bit_trades(
    space: SearchSpace, table: Sensitivity, cost_of: CostOf, start: Candidate
) -> tuple[Trades, Sequence[_Options]]:
    base = cost_of(start)
    options = [_layer_options(layer, table, cost_of, start, base) for layer in space.layers]
    return trades([option.costs for option in options], [option.losses for option in options]), options


def _layer_options(layer: str, table: Sensitivity, cost_of: CostOf, start: Candidate, base: float) -> _Options:
    own = start.choice(layer)

    def cost(choice: LayerChoice) -> float:
        layers = tuple(choice if entry.layer == layer else entry for entry in start.layers)
        return cost_of(replace(start, layers=layers)) - base

    weights = [(_weight_choice(own, option), loss) for option, loss in table.weights[layer].items()]
    weights = _undominated(weights, [cost(choice) for choice, _ in weights])
    both = [
        (replace(choice, activation_bits=bits), loss + more)
        for choice, loss in weights
        for bits, more in table.activations[layer].items()
    ]
    costs = {id(entry): cost(entry[0]) for entry in both}
    kept = _undominated(both, list(costs.values()))
    return _Options(
        layer,
        tuple(choice for choice, _ in kept),
        np.array([costs[id(entry)] for entry in kept]),
        np.array([loss for _, loss in kept]),
    )


def _weight_choice(own: LayerChoice, option: WeightOption) -> LayerChoice:
    bits, kept, size = option
    return replace(own, weight_bits=bits, kept_weights=kept, codebook_size=size)


def _undominated(
    entries: Sequence[tuple[LayerChoice, float]], costs: Sequence[float]
) -> list[tuple[LayerChoice, float]]:
    kept: list[tuple[LayerChoice, float]] = []
    for _, _, index in sorted((cost, entries[i][1], i) for i, cost in enumerate(costs)):
        if not kept or entries[index][1] < kept[-1][1]:
            kept.append(entries[index])
    return kept


def _budgets(solved: Trades, count: int) -> list[float]:
    """Budgets at equal steps of the logarithm of the loss, from a tenth of the way down to the cheapest."""
    if len(solved.costs) == 1:
        return [float(solved.costs[0])]
    logarithm = np.log(np.maximum(solved.losses, solved.losses.max() * 1e-6))
    wanted = np.linspace(logarithm[-1], logarithm[0], count + 2)[1:-1]
    return [float(solved.costs[int(np.abs(logarithm - level).argmin())]) for level in wanted]


def mapping_of(seeds: Sequence[Seed], space: SearchSpace) -> tuple[Mapping[str, int], ...]:
    """The points of the seeds."""
    return tuple(space.point(seed.candidate) for seed in seeds)

"""Candidates to start a search from: relevance decides where to save, a knapsack how much, for many budgets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.search.knapsack import Floats, Trades, trades, undominated
from explorer.search.sensitivity import Sensitivity, WeightOption
from explorer.search.space import SearchSpace

CostOf = Callable[[Candidate], float]
"""What a candidate costs on the device, one number: the objectives other than accuracy, weighed equally."""
Fits = Callable[[Candidate], bool]
"""Whether a candidate keeps the budgets that can be known without scoring it."""

EXAMINED = 400
"""Points of the front, evenly spread along it, of which it is asked whether they fit."""
FILTER_LEVELS = 8
"""Networks with filters removed on which bits are traded; each costs a device-model call for every option."""
SMALLEST_RATIO = 1e-9
"""Values below this share of the largest count as this share on a logarithmic scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A candidate to start from, and in words where it comes from."""

    candidate: Candidate
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Options:
    """Undominated options of one layer, with what each costs and loses."""

    layer: str
    choices: tuple[LayerChoice, ...]
    costs: Floats
    losses: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Level:
    """A network with filters removed, and the front of all other choices on it."""

    start: Candidate
    base_cost: float
    base_loss: float
    options: tuple[_Options, ...]
    solved: Trades

    def candidate(self, index: int) -> Candidate:
        """The candidate at a point of the front."""
        chosen = zip(self.options, self.solved.choices[index].tolist(), strict=True)
        return replace(self.start, layers=tuple(option.choices[which] for option, which in chosen))


@dataclass(frozen=True, slots=True)
class _Point:
    """A point of the merged front: point `index` of a level's own front."""

    cost: float
    loss: float
    level: _Level
    index: int
    seed: Seed | None = None


def relevance_seeds(
    space: SearchSpace, table: Sensitivity, cost_of: CostOf, count: int, fits: Fits = lambda candidate: True
) -> tuple[Seed, ...]:
    """At most `count` distinct seeds: the widest point of the space, then the best that the table knows of.

    A knapsack over the channel groups removes filters down to several levels of cost; on each of these networks a
    knapsack over the layers trades bits, weights kept and codebooks against cost. What no other combination beats
    on any level is a front of cost and estimated loss, and the seeds are spread evenly along it, from the most
    expensive to the cheapest. Costs are what the device model says of changing one choice alone. A candidate that
    does not fit the budgets is no seed.
    """
    widest = _widest(space)
    levels = [_level(space, table, cost_of, start) for start in _filter_levels(space, table, cost_of, widest)]
    found = []
    for point in _evenly(_merged_front(levels), EXAMINED):
        share = point.level.base_cost / levels[0].base_cost
        seed = Seed(
            candidate=point.level.candidate(point.index),
            origin=f"seed relevance, filters removed down to {share:.0%} of the cost",
        )
        if seed.candidate != widest and fits(seed.candidate):
            found.append(replace(point, seed=seed))
    first = (Seed(candidate=widest, origin="seed widest"),) if fits(widest) else ()
    chosen = _evenly(found, count - len(first))
    return (*first, *(point.seed for point in reversed(chosen) if point.seed is not None))


def _merged_front(levels: Sequence[_Level]) -> list[_Point]:
    """What no other point of any level beats, in ascending order of cost."""
    costs = np.concatenate([level.base_cost + level.solved.costs for level in levels])
    losses = np.concatenate([level.base_loss + level.solved.losses for level in levels])
    owners = [(level, index) for level in levels for index in range(len(level.solved.costs))]
    return [_Point(float(costs[i]), float(losses[i]), *owners[i]) for i in undominated(costs, losses).tolist()]


def _widest(space: SearchSpace) -> Candidate:
    """The point with the most bits, all filters and weights, and no codebook where that is admissible."""
    indices = {
        axis.name: 0 if axis.kind == "codebook_size" and axis.values[0] is None else len(axis.values) - 1
        for axis in space.axes
    }
    return space.candidate(indices)


def _filter_levels(space: SearchSpace, table: Sensitivity, cost_of: CostOf, widest: Candidate) -> tuple[Candidate, ...]:
    """The widest network, and networks with filters removed down to equal steps of cost."""
    groups = [axis for axis in space.axes if axis.kind == "kept_filters" and len(axis.values) > 1]
    if not groups:
        return (widest,)
    base = cost_of(widest)
    costs, losses = [], []
    for axis in groups:
        alone = [_with_share(widest, axis.of, float(value or 0.0)) for value in axis.values]
        costs.append(np.array([cost_of(candidate) - base for candidate in alone]))
        losses.append(np.array([table.filters[axis.of][float(value or 0.0)] for value in axis.values]))
    solved = trades(costs, losses)
    found = {widest.digest(): widest}
    for step in range(1, FILTER_LEVELS):
        candidate = widest
        for axis, option in zip(
            groups, solved.choices[solved.within(solved.costs[0] * step / FILTER_LEVELS)], strict=True
        ):
            candidate = _with_share(candidate, axis.of, float(axis.values[option] or 0.0))
        found.setdefault(candidate.digest(), candidate)
    return tuple(found.values())


def _with_share(candidate: Candidate, group: str, share: float) -> Candidate:
    kept = tuple((name, share if name == group else own) for name, own in candidate.kept_filters)
    return replace(candidate, kept_filters=kept)


def _level(space: SearchSpace, table: Sensitivity, cost_of: CostOf, start: Candidate) -> _Level:
    base = cost_of(start)
    options = tuple(_layer_options(layer, table, cost_of, start, base) for layer in space.layers)
    return _Level(
        start=start,
        base_cost=base,
        base_loss=sum(table.filters[group][share] for group, share in start.kept_filters),
        options=options,
        solved=trades([option.costs for option in options], [option.losses for option in options]),
    )


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
        layer=layer,
        choices=tuple(choice for choice, _ in kept),
        costs=np.array([costs[id(entry)] for entry in kept]),
        losses=np.array([loss for _, loss in kept]),
    )


def _weight_choice(own: LayerChoice, option: WeightOption) -> LayerChoice:
    bits, kept, size, pattern = option
    return replace(own, weight_bits=bits, kept_weights=kept, codebook_size=size, pattern=pattern)


def _undominated(
    entries: Sequence[tuple[LayerChoice, float]], costs: Sequence[float]
) -> list[tuple[LayerChoice, float]]:
    kept: list[tuple[LayerChoice, float]] = []
    for _, _, index in sorted((cost, entries[i][1], i) for i, cost in enumerate(costs)):
        if not kept or entries[index][1] < kept[-1][1]:
            kept.append(entries[index])
    return kept


def _evenly(points: Sequence[_Point], count: int) -> list[_Point]:
    """At most `count` of the points of a front, in their order, evenly spread along it.

    Distances are along the front, with cost and loss on logarithmic scales of equal length; each next point is the
    one farthest from those chosen before, the cheapest first.
    """
    if len(points) <= count:
        return list(points)
    values = np.array([(point.cost, point.loss) for point in points])
    scaled = np.log(np.maximum(values, values.max(axis=0) * SMALLEST_RATIO))
    steps = np.diff(scaled, axis=0) / np.maximum(np.ptp(scaled, axis=0), 1e-12)
    along = np.concatenate(([0.0], np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))))
    chosen = [0][:count]
    distance = along.copy()
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.abs(along - along[chosen[-1]]))
        distance[chosen] = -1.0
    return [points[index] for index in sorted(chosen)]

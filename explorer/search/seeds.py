"""Candidates to start a search from: relevance decides where to save, a knapsack how much, for many budgets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from explorer.compress.candidate import Candidate
from explorer.pareto import ascending_front
from explorer.progress import Progress
from explorer.search.axes import FILTER_KEEP_RATIO, FILTERS_BY, REMOVED_BLOCKS, STEP_OFFSET, STEPS
from explorer.search.knapsack import solve_knapsack
from explorer.search.options import LayerFront, PriceCandidates, solve_front
from explorer.search.sensitivity import Sensitivity
from explorer.search.space import SearchSpace

Fits = Callable[[Sequence[Candidate]], Sequence[bool]]
"""Whether each of some candidates keeps the budgets that can be known without scoring it."""

EXAMINED = 400
"""Points of the front, evenly spread along it, of which it is asked whether they fit."""
FILTER_LEVELS = 8
"""Networks with filters removed on which bits are traded; every option is priced on each."""
SMALLEST_RATIO = 1e-9
"""Values below this share of the largest count as this share on a logarithmic scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A candidate to start from, and in words where it comes from."""

    candidate: Candidate
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Level:
    """A network with filters removed: what that is estimated to lose, and the front of all other choices on it."""

    base_loss: float
    front: LayerFront


@dataclass(frozen=True, slots=True)
class _Point:
    """A point of the merged front: point `index` of a level's own front."""

    cost: float
    loss: float
    level: _Level
    index: int

    def seed(self, base: float) -> Seed:
        """Return it as a candidate, its filters' cost as a share of `base`."""
        front = self.level.front
        share = front.base_cost / base
        origin = f"seed relevance, {_removed(front.start)} removed down to {share:.0%} of the cost"
        return Seed(candidate=front.candidate(self.index), origin=origin)


def choose_seeds(
    space: SearchSpace,
    table: Sensitivity,
    price_candidates: PriceCandidates,
    count: int,
    fits: Fits = lambda candidates: [True] * len(candidates),
    progress: Progress = lambda done, total: None,
) -> tuple[Seed, ...]:
    """Return at most `count` distinct seeds: the widest point of the space, then the best that the table knows of.

    A knapsack over the channel groups removes filters down to several levels of cost; on each of these networks a
    knapsack over the layers trades bits, weights kept and codebooks against cost. What no other combination beats
    on any level is a front of cost and estimated loss, and the seeds are spread evenly along it, from the most
    expensive to the cheapest. Costs are what the device model says of changing one choice alone. A candidate that
    does not fit the budgets is no seed.

    Where the space has networks without blocks, each of them is a start from which filters are removed.

    Where the space has steps, each of them is one more network to trade on, and up to half of the seeds are the whole
    network at one step for all layers: these alone are a front already.

    Filters are removed by the study's own criterion, of which alone the table knows; for every other criterion of
    the space the last seeds hold one that removes as many by its order, where `count` leaves two or more for the own.
    """
    widest = _widest(space)
    (base,) = price_candidates([widest])
    starts = _at_depths(space, widest)
    count_of_each = max(1, FILTER_LEVELS // len(starts))
    filtered = [
        each for start in starts for each in _filter_levels(space, table, price_candidates, start, count_of_each)
    ]
    levels = _levels(_at_steps(space, table, filtered), price_candidates, progress)
    first = tuple(_fitting(fits, [Seed(candidate=widest, origin="seed widest")]))
    criteria = _other_criteria(space)[: max(0, count - 2)]
    left = count - len(first) - len(criteria)
    steady = _fitting(fits, [seed for seed in _steady_seeds(space, left // 2) if seed.candidate != widest])
    known = {widest, *(seed.candidate for seed in steady)}
    examined = {point.seed(base): point for point in _evenly(_merged_front(levels), EXAMINED)}
    found = [examined[seed] for seed in _fitting(fits, [seed for seed in examined if seed.candidate not in known])]
    own = tuple(point.seed(base) for point in reversed(_evenly(found, left - len(steady))))
    return (*first, *steady, *own, *_by_other_criteria(own, criteria))


def _fitting(fits: Fits, seeds: Sequence[Seed]) -> list[Seed]:
    kept = fits([seed.candidate for seed in seeds])
    return [seed for seed, keeps in zip(seeds, kept, strict=True) if keeps]


def _other_criteria(space: SearchSpace) -> list[str]:
    return [criterion for criterion in space.values(FILTERS_BY) if criterion is not None]


def _by_other_criteria(seeds: Sequence[Seed], criteria: Sequence[str]) -> tuple[Seed, ...]:
    """Return the middle one of the seeds that remove filters, once by each criterion's order, if any does."""
    removing = [seed.candidate for seed in seeds if any(share < 1.0 for _, share in seed.candidate.filter_keep_ratio)]
    if not removing:
        return ()
    middle = removing[len(removing) // 2]
    return tuple(
        Seed(candidate=replace(middle, filters_by=name), origin=f"seed relevance, filters by {name}")
        for name in criteria
    )


def _merged_front(levels: Sequence[_Level]) -> list[_Point]:
    """Return what no other point of any level beats, in ascending order of cost."""
    costs = np.concatenate([level.front.base_cost + level.front.solved.costs for level in levels])
    losses = np.concatenate([level.base_loss + level.front.solved.losses for level in levels])
    owners = [(level, index) for level in levels for index in range(len(level.front.solved.costs))]
    return [_Point(float(costs[i]), float(losses[i]), *owners[i]) for i in ascending_front(costs, losses).tolist()]


def _widest(space: SearchSpace) -> Candidate:
    """Return the point with the most bits, all filters and weights, and no codebook where that is admissible."""
    indices = {axis.name: 0 if axis.values[0] is None else len(axis.values) - 1 for axis in space.axes}
    return space.candidate(indices)


def _steady_seeds(space: SearchSpace, count: int) -> list[Seed]:
    """Return whole networks with the same step in all layers, at most `count` of them evenly along the axis."""
    steps = [step for step in space.steps if step is not None]
    chosen = steps if len(steps) <= count else [steps[len(steps) * place // count] for place in range(count)]
    return [
        Seed(candidate=_at_step(space, _widest(space), step), origin=f"seed step {step:g} in all layers")
        for step in reversed(chosen)
    ]


def _at_step(space: SearchSpace, candidate: Candidate, step: float | None) -> Candidate:
    """Return the candidate at another step of the network, its layers without offsets where that is admissible."""
    point = space.point(candidate)
    point |= {axis.name: axis.nearest(step) for axis in space.axes if axis.knob is STEPS}
    point |= {axis.name: axis.nearest(0.0) for axis in space.axes if axis.knob is STEP_OFFSET}
    return space.candidate(point)


def _at_steps(
    space: SearchSpace, table: Sensitivity, starts: Sequence[Candidate]
) -> list[tuple[Candidate, Sensitivity]]:
    """Return each network at each step of the space, with the options that its layers have there."""
    found = []
    for step in space.steps:
        options = {
            layer: {choice: losses[choice] for choice in space.weight_choices(layer, step)}
            for layer, losses in table.weights.items()
        }
        own = replace(table, weights=options)
        found += [(start if step is None else _at_step(space, start, step), own) for start in starts]
    return found


def _at_depths(space: SearchSpace, widest: Candidate) -> list[Candidate]:
    """Return the widest network without each number of blocks of the space, the fewest first."""
    axis = next((axis for axis in space.axes if axis.knob is REMOVED_BLOCKS), None)
    if axis is None:
        return [widest]
    point = space.point(widest)
    return [space.candidate(point | {axis.name: index}) for index in range(len(axis.values) - 1, -1, -1)]


def _removed(start: Candidate) -> str:
    return f"{len(start.removed_blocks)} blocks and filters" if start.removed_blocks else "filters"


def _filter_levels(
    space: SearchSpace, table: Sensitivity, price_candidates: PriceCandidates, widest: Candidate, count: int
) -> tuple[Candidate, ...]:
    """Return the widest network, and up to `count` with filters removed down to equal steps of cost in all."""
    ratios = {group: space.values(FILTER_KEEP_RATIO, group) for group, _ in widest.filter_keep_ratio}
    groups = {group: values for group, values in ratios.items() if len(values) > 1}
    if not groups:
        return (widest,)
    (base,) = price_candidates([widest])
    costs, losses = [], []
    for group, values in groups.items():
        costs.append(np.array(price_candidates([widest.with_filters({group: ratio}) for ratio in values])) - base)
        losses.append(np.array([table.filters[group][ratio] for ratio in values]))
    solved = solve_knapsack(costs, losses)
    found = {widest.digest(): widest}
    for step in range(1, count):
        candidate = widest
        chosen = solved.choices[solved.within(solved.costs[0] * step / count)]
        for (group, values), option in zip(groups.items(), chosen, strict=True):
            candidate = candidate.with_filters({group: values[option]})
        found.setdefault(candidate.digest(), candidate)
    return tuple(found.values())


def _levels(
    starts: Sequence[tuple[Candidate, Sensitivity]], price_candidates: PriceCandidates, progress: Progress
) -> list[_Level]:
    """Return the front of all other choices on each network; progress counts these."""
    found: list[_Level] = []
    for place, (start, table) in enumerate(starts):
        progress(place, len(starts))
        lost = sum(table.filters[group][share] for group, share in start.filter_keep_ratio)
        lost += table.depths.get(len(start.removed_blocks), 0.0)
        if math.isinf(lost):  # with the widest alone: some filters have to go
            continue
        found.append(_Level(base_loss=lost, front=solve_front(table, start, price_candidates)))
    progress(len(starts), len(starts))
    return found


def _evenly(points: Sequence[_Point], count: int) -> list[_Point]:
    """Return at most `count` of the points of a front, in their order, evenly spread along it.

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

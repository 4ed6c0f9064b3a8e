"""Which candidates a search would evaluate next on another device, by what is known without evaluating any."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from explorer.arrays import Float64Array
from explorer.compress.candidate import Candidate
from explorer.objectives import costs_named
from explorer.search.additive_scores import AdditiveScores, compute_expected_gain
from explorer.search.proposals import Point
from explorer.search.space import SearchSpace
from explorer.settings import BudgetSettings
from explorer.study.costing import list_violations
from explorer.study.front import spread
from explorer.study.record import Cost, Evaluation, FrontPoint

TRIED = 300
"""Neighbours of members of the front that are priced at most: where one has more, every second, third ... (assumed)."""
PriceCandidate = Callable[[Candidate], Cost]
"""Returns what a candidate costs; LookupError where that is not known without its network."""
RULE = (
    "by the score that they are expected to gain over the members of the front that cost no more: among the candidates "
    "over the former budgets and members with one choice a step up or down, by the sum of what choices add to a score"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A candidate that was never scored: what it is, what it costs, what it is expected to score and to gain."""

    candidate: Candidate
    origin: str
    cost: Cost
    score: float
    deviation: float
    gain: float


def propose(
    space: SearchSpace,
    evaluated: Sequence[tuple[Evaluation, Point]],
    members: Sequence[FrontPoint],
    objectives: Sequence[str],
    budgets: BudgetSettings,
    price_candidate: PriceCandidate,
    count: int,
) -> tuple[Proposal, ...]:
    """Return the candidates of the largest expected gain, each chosen as if those before had scored what is expected.

    Where no member of the front costs as little, the gain is over the least score of the front. Nothing is proposed
    for an empty front.

    Args:
        evaluated: Each with its point in the space.
    """
    scored = [(item.score.value, point) for item, point in evaluated if item.score is not None]
    priced = [
        (_Tried(candidate, point, origin), cost)
        for candidate, point, origin in _list_tried(space, evaluated, members, objectives)
        for cost in _fitting(candidate, budgets, price_candidate)
    ]
    if not members or not priced:
        return ()
    model = AdditiveScores(np.array([point for _, point in scored]), np.array([score for score, _ in scored]))
    mean, deviation = model.predict(np.array([tried.point for tried, _ in priced]))
    axes = costs_named(objectives)
    costs = np.array([[axis.value(cost, 0.0) for axis in axes] for _, cost in priced])
    known = np.array([[axis.value(point.evaluation.cost, 0.0) for axis in axes] for point in members])
    best = np.array([point.evaluation.score.value for point in members if point.evaluation.score])
    chosen: list[int] = []
    gains: list[float] = []
    while len(chosen) < min(count, len(priced)):
        gain = compute_expected_gain(mean, deviation, _best_within(costs, known, best))
        gain[chosen] = -1.0
        chosen.append(int(gain.argmax()))
        gains.append(float(gain[chosen[-1]]))
        known, best = np.vstack([known, costs[chosen[-1]]]), np.append(best, mean[chosen[-1]])
    return tuple(
        Proposal(
            candidate=priced[index][0].candidate,
            origin=priced[index][0].origin,
            cost=priced[index][1],
            score=float(mean[index]),
            deviation=float(deviation[index]),
            gain=gain,
        )
        for index, gain in zip(chosen, gains, strict=True)
    )


class _Tried(NamedTuple):
    """A candidate that was never scored, its point in the space, and where it is from."""

    candidate: Candidate
    point: Point
    origin: str


def _list_tried(
    space: SearchSpace,
    evaluated: Sequence[tuple[Evaluation, Point]],
    members: Sequence[FrontPoint],
    objectives: Sequence[str],
) -> Iterator[_Tried]:
    known = {item.candidate for item, _ in evaluated if item.score is not None or item.failure}
    places, names = {item.number: point for item, point in evaluated}, [axis.name for axis in space.axes]
    for item, point in evaluated:
        if item.candidate not in known:
            known.add(item.candidate)
            yield _Tried(item.candidate, point, f"evaluation {item.number}, over the former budgets")
    decided = [(place, axis) for place, axis in enumerate(space.axes) if len(axis.values) > 1]
    axes = decided[:: 1 + 2 * len(decided) // TRIED]
    for member in spread(members, objectives, TRIED // max(1, 2 * len(axes))) if members else ():
        own = places[member.evaluation.number]
        for place, axis in axes:
            for index in (own[place] - 1, own[place] + 1):
                if 0 <= index < len(axis.values):
                    point = (*own[:place], index, *own[place + 1 :])
                    candidate = space.candidate(dict(zip(names, point, strict=True)))
                    if candidate not in known:
                        known.add(candidate)
                        change = f"{axis.values[own[place]]} -> {axis.values[index]}"
                        yield _Tried(candidate, point, f"{member.name} with {axis.of} {axis.knob.name} {change}")


def _fitting(candidate: Candidate, budgets: BudgetSettings, price_candidate: PriceCandidate) -> Iterator[Cost]:
    """Yield the cost of a candidate, where it is known and keeps the budgets."""
    try:
        cost = price_candidate(candidate)
    except LookupError:
        return
    if not list_violations(cost, None, budgets, ()):
        yield cost


def _best_within(costs: Float64Array, known: Float64Array, best: Float64Array) -> Float64Array:
    """Return for each row of costs the best score that is known at no higher ones, and the least of all elsewhere."""
    within = (known[None] <= costs[:, None]).all(axis=2)
    found: Float64Array = np.where(within, best[None], best.min()).max(axis=1)
    return found

"""Which candidates a search would evaluate next on another device, by what is known without evaluating any."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.arrays import Float64Array
from explorer.compress.candidate import Candidate
from explorer.objectives import costs_named
from explorer.search.additive_scores import AdditiveScores, compute_expected_gain
from explorer.search.space import SearchSpace
from explorer.settings import BudgetSettings
from explorer.study.costing import list_violations
from explorer.study.front import spread
from explorer.study.record import Cost, Evaluation, FrontPoint

TRIED = 500
"""Neighbours of members of the front that are priced at most, but for those of one member (assumed)."""
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
    evaluations: Sequence[Evaluation],
    points: Sequence[FrontPoint],
    objectives: Sequence[str],
    budgets: BudgetSettings,
    price_candidate: PriceCandidate,
    count: int,
) -> tuple[Proposal, ...]:
    """Return the candidates of the largest expected gain, each chosen as if those before had scored what is expected.

    Where no member of the front costs as little, the gain is over the least score of the front. Nothing is proposed
    for an empty front.
    """
    scored = [item for item in evaluations if item.score is not None]
    pool = dict(_pool(space, evaluations, points, objectives))
    priced = [
        (candidate, origin, cost)
        for candidate, origin in pool.items()
        for cost in _fitting(candidate, budgets, price_candidate)
    ]
    if not points or not priced:
        return ()
    model = AdditiveScores(
        _rows(space, [item.candidate for item in scored]), np.array([item.score.value for item in scored if item.score])
    )
    mean, deviation = model.predict(_rows(space, [candidate for candidate, _, _ in priced]))
    axes = costs_named(objectives)
    costs = np.array([[axis.value(cost, 0.0) for axis in axes] for _, _, cost in priced])
    known = np.array([[axis.value(point.evaluation.cost, 0.0) for axis in axes] for point in points])
    best = np.array([point.evaluation.score.value for point in points if point.evaluation.score])
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
            candidate=candidate,
            origin=origin,
            cost=cost,
            score=float(mean[index]),
            deviation=float(deviation[index]),
            gain=gain,
        )
        for index, gain in zip(chosen, gains, strict=True)
        for candidate, origin, cost in [priced[index]]
    )


def _pool(
    space: SearchSpace, evaluations: Sequence[Evaluation], points: Sequence[FrontPoint], objectives: Sequence[str]
) -> Iterator[tuple[Candidate, str]]:
    """Yield candidates that were never scored, each with where it is from."""
    known = {item.candidate for item in evaluations if item.score is not None or item.failure}
    for item in evaluations:
        if item.candidate not in known:
            known.add(item.candidate)
            yield item.candidate, f"evaluation {item.number}, over the former budgets"
    steps = 2 * max(1, len(space.axes))
    for point in spread(points, objectives, max(1, TRIED // steps)) if points else ():
        own = space.point(point.evaluation.candidate)
        for axis in space.axes:
            for index in (own[axis.name] - 1, own[axis.name] + 1):
                if 0 <= index < len(axis.values):
                    candidate = space.candidate(own | {axis.name: index})
                    if candidate not in known:
                        known.add(candidate)
                        change = f"{axis.values[own[axis.name]]} -> {axis.values[index]}"
                        yield candidate, f"{point.name} with {axis.of} {axis.knob.name} {change}"


def _fitting(candidate: Candidate, budgets: BudgetSettings, price_candidate: PriceCandidate) -> Iterator[Cost]:
    """Yield the cost of a candidate, where it is known and keeps the budgets."""
    try:
        cost = price_candidate(candidate)
    except LookupError:
        return
    if not list_violations(cost, None, budgets, ()):
        yield cost


def _rows(space: SearchSpace, candidates: Sequence[Candidate]) -> NDArray[np.int64]:
    """Return candidates x axes: indices of their values."""
    found = [list(space.point(candidate).values()) for candidate in candidates]
    return np.array(found, dtype=np.int64).reshape(len(candidates), len(space.axes))


def _best_within(costs: Float64Array, known: Float64Array, best: Float64Array) -> Float64Array:
    """Return for each row of costs the best score that is known at no higher ones, and the least of all elsewhere."""
    within = (known[None] <= costs[:, None]).all(axis=2)
    found: Float64Array = np.where(within, best[None], best.min()).max(axis=1)
    return found

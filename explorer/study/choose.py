"""Which network of a front is taken: by its name, by requirements, or as recommended."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from explorer.errors import ChoiceError
from explorer.evaluate.mean_score import MeanScore
from explorer.objectives import OBJECTIVES, Objective, costs_named
from explorer.study.front import knee
from explorer.study.record import FLOAT, Cost, FrontPoint, Outcome
from explorer.study.requirements import POINTS, Requirements

LARGEST_LOSS = 1.0
"""Points below the float network: what counts as next to nothing (assumed)."""
RECOMMENDED, KNEE, ACCURATE, CHEAPEST = PICKS = ("recommended", "knee", "accurate", "cheapest")
SHORTEST_DIGEST = 4
"""Characters of a digest's beginning that name a point."""
EMPTY = "the front is empty: no candidate kept the budgets; relax [budgets] and run into another folder"
PLAIN = Requirements()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenNetwork:
    """A member of the front, or what fine-tuning made of it, and why it was chosen."""

    point: FrontPoint
    tuned: bool
    score: MeanScore
    """On the search images."""
    loss: float
    """By how much it is below the float network's score there; NaN where that is not known."""
    loss_error: float
    """Standard error of that: of the differences image by image where they are known, else that of the score."""
    cost: Cost
    reason: str = ""
    called: str = "chosen"
    """Or RECOMMENDED, where nothing else was asked for."""

    @property
    def name(self) -> str:
        """What it is called: "p07", or "p07, fine-tuned"."""
        return f"{self.point.name}, fine-tuned" if self.tuned else self.point.name

    @property
    def is_close(self) -> bool:
        """Whether it loses no more than LARGEST_LOSS, a standard error included, or nothing."""
        return self.excess(LARGEST_LOSS / POINTS) <= 0

    def excess(self, limit: float) -> float:
        """Return by how much its loss is over a limit, a share: a standard error included, where it loses anything.

        Whoever takes the cheapest of many favours those that were measured too well. `benchmarks/choosing.py` compares
        this rule with a limit for the loss alone, and with one that an error more still keeps.
        """
        return min(self.loss + self.loss_error - limit, self.loss - min(0.0, limit))

    def describe(self) -> str:
        """Return its name, how far it is from the float network, and why it was chosen."""
        return f"{self.name}, {self.tell_loss()}: {self.reason}"

    def tell_loss(self) -> str:
        """Return how far its score on search images is from the float network's, in words."""
        if math.isnan(self.loss):
            return f"{self.score!r}"
        side = "below" if self.loss >= 0 else "above"
        far = f"{POINTS * abs(self.loss):.1f} ±{POINTS * self.loss_error:.1f} points"
        return f"{far} {side} the float network on search images"


def choose(outcome: Outcome, wanted: Requirements = PLAIN, *, tuned: bool | None = None) -> ChosenNetwork:
    """Return the network of a front that is wanted; with `tuned` of fine-tuned ones alone, False of none of them.

    By name it is the network as it was searched, fine-tuned where `tuned` is true. Of those that keep all requirements
    it is the one with the least of `wanted.least`, by default of the first cost that the search names; where costs
    alone are limited, and no least one is wanted, the one of the best score. Equal ones are told apart by the search's
    other costs, then by the score. A loss is within its limit where it is so with a standard error more, or is none.

    Raises:
        ChoiceError: The front is empty, has no such point, or no network that keeps the requirements: then the nearest
            is named.
    """
    if not outcome.front:
        raise ChoiceError(EMPTY)
    if wanted.pick not in (None, RECOMMENDED):
        point, reason = _pick(outcome, wanted.pick or "")
        found = [each for each in list_networks(outcome, None) if each.point is point]
        return _with_reason(found[-1] if tuned else found[0], reason)
    networks = list(list_networks(outcome, tuned))
    if not networks:
        raise ChoiceError("no member of the front was fine-tuned; explorer finetune does that")
    if wanted in (PLAIN, Requirements(pick=RECOMMENDED)):
        return _recommend(networks, outcome)
    return _require(networks, outcome, wanted)


def recommend(outcome: Outcome) -> ChosenNetwork | None:
    """Return the cheapest network, tuned ones among them, whose score is close to the float network's.

    The first of the search's costs decides, then the next, then the score. Where none is close, the one of the best
    score is returned; None for a front without a scored member.
    """
    return choose(outcome) if any(point.evaluation.score is not None for point in outcome.front) else None


def list_networks(outcome: Outcome, tuned: bool | None) -> Iterator[ChosenNetwork]:
    """Yield the members of a front, behind each what fine-tuning made of it; with `tuned` those alone, or none."""
    floating = next((entry for entry in outcome.baselines if entry.name == FLOAT and not entry.failure), None)
    whole = floating.search.value if floating is not None and floating.search.num_images else math.nan
    for point in outcome.front:
        plain, after = point.evaluation, point.tuned
        known = [(False, plain.score, point.loss_error, plain.cost)]
        known += [] if after is None else [(True, after.search, after.loss_error, after.cost)]
        for is_tuned, score, error, cost in known:
            if score is not None and tuned in (None, is_tuned):
                yield ChosenNetwork(
                    point=point,
                    tuned=is_tuned,
                    score=score,
                    loss=whole - score.value,
                    loss_error=score.standard_error if error is None else error,
                    cost=cost,
                )


def _pick(outcome: Outcome, choice: str) -> tuple[FrontPoint, str]:
    """Return the point that a user names, and what it is."""
    points = outcome.front
    if choice == KNEE:
        return knee(points, outcome.objectives), "the knee, nearest to the best of all objectives at once"
    if choice == ACCURATE:
        best = max(points, key=lambda point: point.evaluation.score.value if point.evaluation.score else 0)
        return best, "the best score"
    if choice == CHEAPEST:
        return points[0], f"the least {_tell_cost(_first_cost(outcome))}"
    named = [point for point in points if point.name == choice]
    if not named and len(choice) >= SHORTEST_DIGEST:
        named = [point for point in points if point.evaluation.candidate.digest().startswith(choice)]
    if len(named) == 1:
        return named[0], "as named"
    names = ", ".join(point.name for point in points)
    if named:
        several = ", ".join(point.name for point in named)
        raise ChoiceError(f"--pick: received {choice!r}, with which the digests of {several} begin; give more of it")
    raise ChoiceError(f"--pick: received {choice!r}; choose one of {', '.join(PICKS)}, or a point: {names}")


def _recommend(networks: Sequence[ChosenNetwork], outcome: Outcome) -> ChosenNetwork:
    try:
        found = _require(networks, outcome, Requirements(max_loss=LARGEST_LOSS))
    except ChoiceError:
        unknown = math.isnan(networks[0].loss)
        why = "the float network was not scored" if unknown else "none loses at most a point, a standard error included"
        found = _with_reason(_best(networks, outcome), f"the best score, since {why}")
    return replace(found, called=RECOMMENDED)


def _require(networks: Sequence[ChosenNetwork], outcome: Outcome, wanted: Requirements) -> ChosenNetwork:
    rules = tuple(_list_rules(wanted))
    for rule in rules:
        if all(math.isnan(rule.excess(each)) for each in networks):
            raise ChoiceError(f"no network on the front has {rule.unknown}, and so none {rule.text}")
    good = [each for each in networks if all(rule.excess(each) <= 0 for rule in rules)]
    if not good:
        raise ChoiceError(_tell_nearest(networks, rules))
    stated = " and ".join(rule.text for rule in rules)
    kept = f"of {len(good)} with {stated}" if rules else f"of {len(good)}"
    if wanted.least is None and wanted.max_loss is None and wanted.min_score is None:
        return _with_reason(_best(good, outcome), f"the best score {kept}")
    axis = _first_cost(outcome) if wanted.least is None else OBJECTIVES[wanted.least]
    if wanted.least is not None and all(math.isnan(axis.value(each.cost, 0.0)) for each in good):
        raise ChoiceError(f"no network on the front has {_tell_known(axis)}, which is to be the least")
    return _with_reason(_cheapest(good, axis, outcome), f"the least {_tell_cost(axis)} {kept}")


class _Rule(NamedTuple):
    """A requirement: `excess` is above 0 where a network does not keep it, a share; NaN where that is not known."""

    text: str
    excess: Callable[[ChosenNetwork], float]
    tell_miss: Callable[[ChosenNetwork], str]
    unknown: str


def _list_rules(wanted: Requirements) -> Iterator[_Rule]:
    if wanted.max_loss is not None:
        most = wanted.max_loss
        yield _Rule(
            f"a loss of at most {most:g} point{'s' * (most != 1)}, a standard error included",
            lambda each: each.excess(most / POINTS),
            lambda each: f"loses {POINTS * each.loss:.1f} ±{POINTS * each.loss_error:.1f} points",
            "a known loss (the float network was not scored)",
        )
    if wanted.min_score is not None:
        least = wanted.min_score
        yield _Rule(
            f"a score of at least {POINTS * least:.4g} %",
            lambda each: least - each.score.value,
            lambda each: f"scores {POINTS * each.score.value:.1f} %",
            "a score",
        )
    for name, limit in wanted.limits:
        yield _limit_rule(OBJECTIVES[name], limit)


def _limit_rule(cost: Objective, limit: float) -> _Rule:
    return _Rule(
        f"{_tell_cost(cost)} of at most {_amount(limit, cost)}",
        lambda each: cost.value(each.cost, 0.0) / limit - 1.0,
        lambda each: (
            f"takes {_amount(cost.value(each.cost, 0.0), cost)}, "
            f"{POINTS * (cost.value(each.cost, 0.0) / limit - 1.0):.1f} % over"
        ),
        _tell_known(cost),
    )


def _tell_nearest(networks: Iterable[ChosenNetwork], rules: Sequence[_Rule]) -> str:
    """Return what no network keeps, and by how much the one misses it that misses it by the least in all, in shares."""

    def missed(each: ChosenNetwork) -> float:
        shares = [rule.excess(each) for rule in rules]
        return math.inf if any(map(math.isnan, shares)) else sum(max(0.0, share) for share in shares)

    nearest = min(networks, key=missed)
    misses = " and ".join(rule.tell_miss(nearest) for rule in rules if not rule.excess(nearest) <= 0)
    stated = " and ".join(rule.text for rule in rules)
    return f"no network on the front has {stated}; the nearest is {nearest.name}, which {misses}"


def _cheapest(networks: Iterable[ChosenNetwork], axis: Objective, outcome: Outcome) -> ChosenNetwork:
    axes = (axis, *costs_named(outcome.objectives))

    def place(each: ChosenNetwork) -> tuple[float, ...]:
        values = (cost.value(each.cost, 0.0) for cost in axes)
        return (*(math.inf if math.isnan(value) else value for value in values), -each.score.value)

    return min(networks, key=place)


def _best(networks: Iterable[ChosenNetwork], outcome: Outcome) -> ChosenNetwork:
    axes = costs_named(outcome.objectives)
    return min(networks, key=lambda each: (-each.score.value, *(cost.value(each.cost, 0.0) for cost in axes)))


def _first_cost(outcome: Outcome) -> Objective:
    return costs_named(outcome.objectives)[0]


def _tell_cost(cost: Objective) -> str:
    return cost.title[0].lower() + cost.title[1:]


def _tell_known(cost: Objective) -> str:
    return f"a known {_tell_cost(cost)}{' (its objectives do not name it)' * cost.where_named}"


def _amount(value: float, cost: Objective) -> str:
    return f"{value:,.0f} {cost.unit}" if cost.whole or value >= 1000.0 else f"{value:.4g} {cost.unit}"


def _with_reason(network: ChosenNetwork, reason: str) -> ChosenNetwork:
    return replace(network, reason=reason)

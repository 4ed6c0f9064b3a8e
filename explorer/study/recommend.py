"""Which network of a front the commands recommend: the cheapest of those that lose next to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from explorer.evaluate.mean_score import MeanScore
from explorer.objectives import costs_named
from explorer.study.record import FLOAT, Cost, FrontPoint, Outcome

LARGEST_LOSS = 0.01
"""Of the float network's score: what counts as next to nothing (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """A member of the front, or what fine-tuning made of it."""

    point: FrontPoint
    tuned: bool
    score: MeanScore
    """On the search images."""
    loss: float
    """By how much it is below the float network's score there."""
    cost: Cost

    @property
    def is_close(self) -> bool:
        """Whether it loses no more than LARGEST_LOSS, or more by no more than its standard error."""
        return self.loss <= LARGEST_LOSS + self.score.standard_error

    @property
    def name(self) -> str:
        """What it is called: "p07", or "p07, fine-tuned"."""
        return f"{self.point.name}, fine-tuned" if self.tuned else self.point.name


def recommend(outcome: Outcome) -> Recommendation | None:
    """Return the cheapest network, tuned ones among them, whose score is close to the float network's.

    The first of the search's costs decides, then the next, then the score. Where none is close, the one of the best
    score is returned; None for an empty front.
    """
    axes = costs_named(outcome.objectives)
    found = sorted(
        _networks(outcome), key=lambda each: (*(axis.value(each.cost, 0.0) for axis in axes), -each.score.value)
    )
    return next((each for each in found if each.is_close), min(found, key=lambda each: each.loss, default=None))


def compute_loss(outcome: Outcome, point: FrontPoint) -> float:
    """Return by how much an untuned member's score is below the float network's on the search images."""
    score = point.evaluation.score
    return outcome.baseline(FLOAT).search.value - (score.value if score is not None else 0.0)


def _networks(outcome: Outcome) -> Iterator[Recommendation]:
    whole = outcome.baseline(FLOAT).search.value
    for point in outcome.front:
        known = [(False, point.evaluation.score, point.evaluation.cost)]
        if point.tuned is not None:
            known.append((True, point.tuned.search, point.tuned.cost))
        for tuned, score, cost in known:
            if score is not None:
                yield Recommendation(point=point, tuned=tuned, score=score, loss=whole - score.value, cost=cost)

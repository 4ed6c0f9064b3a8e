"""Score a network on no more images than it takes to know its score, or that another is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from explorer.arrays import Float64Array, Int64Array
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.paired import probability_of_no_less
from explorer.evaluate.sampling import SampleOrder

LEAST_PROBABILITY = 0.001
"""Chance below which a network that does as well as another is not taken to do worse, in each look (assumed)."""
ScoreSome = Callable[[Int64Array], Float64Array]
"""Images by their places (n) -> a network's score of each (n)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampledScore:
    """A mean score, the scores of the images that it is of, in their order, and whether a better network ended it."""

    mean: MeanScore
    scores: Float64Array
    beaten: bool = False


def score_sample(
    order: SampleOrder, score_some: ScoreSome, largest_error: float, rival: Float64Array | None = None
) -> SampledScore:
    """Score images in their order, wave by wave, until the sampling error is not above the largest that is asked for.

    A network that does worse than its rival is not worth more images: the rival's scores are those of the first images
    in the same order (n), and the two are compared on those that both have seen, each as many times as it stands for
    others, by an exact test (`probability_of_no_less`). With 0 as the largest error all images are scored at once.
    """
    scores = np.zeros(0)
    for wave in order.waves() if largest_error > 0 else (len(order.order),):
        scores = np.concatenate([scores, score_some(order.order[len(scores) : wave])])
        mean = order.estimate(scores)
        beaten = rival is not None and _is_worse(order, scores, rival)
        if beaten or mean.sampling_error <= largest_error:
            break
    return SampledScore(mean=mean, scores=scores, beaten=beaten)


def _is_worse(order: SampleOrder, scores: Float64Array, rival: Float64Array) -> bool:
    seen = min(len(scores), len(rival))
    differences = (scores[:seen] - rival[:seen]) * order.weights(seen)
    return bool(differences.sum() < 0.0) and probability_of_no_less(differences) < LEAST_PROBABILITY

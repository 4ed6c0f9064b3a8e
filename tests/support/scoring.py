"""Scores for tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor, nn

from explorer.arrays import Float64Array
from explorer.compress.candidate import Candidate
from explorer.evaluate.image_scores import pack_scores
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.sampled import SampledScore
from explorer.evaluate.score import score_images
from explorer.graph.inputs import Inputs
from explorer.study.jobs import ScoreCandidate


def count_correct(model: nn.Module, images: Inputs, labels: Tensor, batch_size: int) -> int:
    """Number of images that the model classifies right."""
    return int(score_images(model, images, labels, batch_size).sum())


def right(count: int, of: int = 100) -> MeanScore:
    """The score where so many images are right."""
    return MeanScore(value=count / of, num_images=of)


def scored_alone(score: Callable[[Candidate], MeanScore]) -> ScoreCandidate:
    """Return what scores candidates without regard to a rival, by their mean scores alone."""

    def score_candidate(candidate: Candidate, rival: Float64Array | None) -> SampledScore:
        return SampledScore(mean=score(candidate), scores=np.zeros(0))

    return score_candidate


def pack_right(count: int, of: int = 100) -> str:
    """The scores of images of which so many, the first ones, are right."""
    return pack_scores((np.arange(of) < count).astype(float))

"""Scores for tests."""

from __future__ import annotations

from torch import Tensor, nn

from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.score import score_images
from explorer.graph.inputs import Inputs


def count_correct(model: nn.Module, images: Inputs, labels: Tensor, batch_size: int) -> int:
    """Number of images that the model classifies right."""
    return int(score_images(model, images, labels, batch_size).sum())


def right(count: int, of: int = 100) -> MeanScore:
    """The score where so many images are right."""
    return MeanScore(value=count / of, num_images=of)

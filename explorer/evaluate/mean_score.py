"""What a network scores on a set of images: a mean with its standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.objectives import SCORE


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MeanScore:
    """Mean score in [0, 1] over `num_images` images.

    `deviation` is the sample standard deviation of the images' scores; None where each image is right (1) or
    wrong (0), since it follows from the mean then.

    Example:
        >>> import explorer, numpy
        >>> score = explorer.MeanScore.of(numpy.array([0.5, 0.75, 1.0]))
        >>> score.value, round(score.standard_error, 3)
        (0.75, 0.144)
    """

    value: float
    num_images: int
    deviation: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 1:
            raise ValueError(f"a mean score must be in [0, 1], but got {self.value!r}")
        if self.deviation is not None and not 0 <= self.deviation < math.inf:
            raise ValueError(f"the deviation of scores must be finite and not below 0, but got {self.deviation!r}")

    @classmethod
    def of(cls, scores: NDArray[np.float64]) -> MeanScore:
        """Summarise the scores of single images (N,), each in [0, 1]; of no image the mean is 0."""
        count = len(scores)
        value = min(1.0, float(scores.sum()) / count) if count else 0.0
        if bool(((scores == 0) | (scores == 1)).all()):
            return cls(value=value, num_images=count)
        return cls(value=value, num_images=count, deviation=float(scores.std(ddof=1)) if count > 1 else 0.5)

    @property
    def standard_error(self) -> float:
        """Standard error of `value`, in [0, 0.5].

        deviation / sqrt(num_images); of right and wrong images that of a binomial proportion with the Agresti-Coull
        correction (two images of each kind added), so that it is not zero where all images are right.
        """
        if self.deviation is not None:
            return self.deviation / math.sqrt(self.num_images)
        adjusted = (self.value * self.num_images + 2.0) / (self.num_images + 4.0)
        return math.sqrt(adjusted * (1.0 - adjusted) / (self.num_images + 4.0))

    def __repr__(self) -> str:
        """Return it in per cent with its standard error, and of how many images."""
        return f"{self.value:.2%} ±{self.standard_error:.2%} of {self.num_images:,} images"


def tell_score(name: str, mean: MeanScore) -> str:
    """Return a mean score in words: "97.50% right" for accuracy, else "iou 75.60%"."""
    return f"{mean.value:.2%} right" if name == SCORE.name else f"{name} {mean.value:.2%}"


def name_score(name: str) -> str:
    """Return what a mean score is called before a number: "right" for accuracy, else its own name."""
    return "right" if name == SCORE.name else name

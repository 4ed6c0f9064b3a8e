"""What a network scores on a set of images: a mean with its standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from explorer.objectives import SCORE


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MeanScore:
    """Mean score in [0, 1] over `num_images` images.

    `deviation` is the standard deviation of the images' scores; None where each image is right (1) or wrong (0), since
    it follows from the mean then. Where these are a sample of `population` images, the mean is an estimate of that over
    all of them, `sampling_error` its standard error, and the deviation that of all.

    Example:
        >>> import explorer, numpy
        >>> score = explorer.MeanScore.of(numpy.array([0.5, 0.75, 1.0]))
        >>> score.value, round(score.standard_error, 3)
        (0.75, 0.144)
    """

    value: float
    num_images: int
    deviation: float | None = None
    sampling_error: float = 0.0
    population: int | None = None
    """None where all images were scored."""

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 1:
            raise ValueError(f"a mean score must be in [0, 1], but got {self.value!r}")
        if self.deviation is not None and not 0 <= self.deviation < math.inf:
            raise ValueError(f"the deviation of scores must be finite and not below 0, but got {self.deviation!r}")
        if not 0 <= self.sampling_error < math.inf:
            raise ValueError(f"the sampling error must be finite and not below 0, but got {self.sampling_error!r}")
        if self.population is not None and self.population <= self.num_images:
            raise ValueError(
                f"a sample of {self.num_images} images must be of more than these, but got {self.population!r}"
            )

    @classmethod
    def of(cls, scores: NDArray[np.float64]) -> MeanScore:
        """Summarise the scores of single images (N,), each in [0, 1]; of no image the mean is 0."""
        count = len(scores)
        value = min(1.0, float(scores.sum()) / count) if count else 0.0
        if is_right_or_wrong(scores):
            return cls(value=value, num_images=count)
        return cls(value=value, num_images=count, deviation=float(scores.std(ddof=1)) if count > 1 else 0.5)

    def without_error(self) -> MeanScore:
        """Return it as a score that is the same of any images, such as a network's likeness to itself."""
        return replace(self, deviation=0.0) if self.num_images else self

    @property
    def standard_error(self) -> float:
        """Standard error of `value` as the network's score on images of this kind, not below 0.

        That of all images, deviation / sqrt(population); of right and wrong images that of a binomial proportion with
        the Agresti-Coull correction (two images of each kind added), so that it is not zero where all images are right.
        The sampling error is added in squares.
        """
        count = self.num_images if self.population is None else self.population
        if self.deviation is not None:
            return math.hypot(self.deviation / math.sqrt(count), self.sampling_error)
        adjusted = (self.value * count + 2.0) / (count + 4.0)
        return math.hypot(math.sqrt(adjusted * (1.0 - adjusted) / (count + 4.0)), self.sampling_error)

    def __repr__(self) -> str:
        """Return it in per cent with its standard error, and of how many images."""
        of = "" if self.population is None else f" of {self.population:,}"
        return f"{self.value:.2%} ±{self.standard_error:.2%} of {self.num_images:,}{of} images"


def is_right_or_wrong(scores: NDArray[np.float64]) -> bool:
    """Return whether each image (N,) is right (1) or wrong (0)."""
    return bool(((scores == 0) | (scores == 1)).all())


def tell_score(name: str, mean: MeanScore) -> str:
    """Return a mean score in words: "97.50% right" for accuracy, else "iou 75.60%"."""
    return f"{mean.value:.2%} right" if name == SCORE.name else f"{name} {mean.value:.2%}"


def name_score(name: str) -> str:
    """Return what a mean score is called before a number: "right" for accuracy, else its own name."""
    return "right" if name == SCORE.name else name

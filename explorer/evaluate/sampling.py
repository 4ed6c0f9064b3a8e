"""Score a candidate on a part of the images, in the order in which images tell most, and say how far that may be off.

What is estimated is the mean difference of a candidate's scores from the float network's, which is known on all images
(a difference estimator), stratified by how easily an image's score changes (Cochran, Sampling Techniques, 1977,
chapters 5 and 7): few images near the border between two classes differ, and nearly none of the others.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from explorer.arrays import Float64Array, Int64Array
from explorer.evaluate.image_scores import pack_scores, unpack_scores
from explorer.evaluate.mean_score import MeanScore, is_right_or_wrong

if TYPE_CHECKING:
    from torch import Tensor

STRATA = 8
"""More gain next to nothing (Cochran 1977, section 5A.8: six are mostly enough)."""
FIRST_WAVE = 128
"""Images after which a score is looked at first (assumed)."""
LEAST_SAMPLED = 1024
"""Images of which a part is worth scoring; fewer are scored in less time than a candidate is built in (assumed)."""
GROWTH = 1.5
"""How many times as many images each next wave has (assumed)."""
FLIPS = 0.1
"""Share of images whose class a typical candidate changes: sets the scale of margins that changes are likely below
(assumed; it decides how many images are saved, not what their mean is)."""
TYPICAL_VARIANCE = 0.07
"""Of differences in a stratified sample: what `python -m benchmarks.sampling` finds of ResNet-20 without a rival."""
LEAST_DEVIATION = 0.2
"""Least deviation that a stratum is taken to have, as a share of the largest: no stratum is left unseen (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleOrder:
    """The images in an order of which every beginning is a stratified sample of all.

    `order` and `strata` are N each: the images in their order, and the stratum of each image; `reference` are the float
    network's scores (N), and `variances` what the differences from them are taken to vary by in each stratum.
    """

    order: Int64Array
    strata: Int64Array
    reference: Float64Array
    variances: Float64Array

    @classmethod
    def of(cls, reference: Float64Array, margins: Float64Array | None, seed: int) -> SampleOrder:
        """Order images by the float network's scores (N) and the margins (N) of its decisions.

        Each stratum is drawn from in proportion to its size times the deviation of the differences there (Neyman
        allocation), which follows from the chance that an image changes, Phi(-margin / scale); without margins, in
        proportion to its size alone, strata being those of the scores.
        """
        count = len(reference)
        ranks = np.argsort(np.argsort(reference if margins is None else margins, kind="stable"), kind="stable")
        strata = ranks * min(STRATA, count) // max(1, count)
        sizes = np.bincount(strata).astype(np.float64)
        variances = np.ones(len(sizes))
        if margins is not None:
            chances = _chances(margins)
            variances = np.bincount(strata, chances * (1.0 - chances)) / sizes
        deviations = np.sqrt(variances)
        shares = sizes * np.maximum(deviations, LEAST_DEVIATION * deviations.max(initial=0.0))
        random = np.random.default_rng(seed).permutation(count)
        places = np.empty(count)
        for stratum, share in enumerate(shares):
            own = random[strata[random] == stratum]
            places[own] = (np.arange(len(own)) + 0.5) / share
        return cls(order=np.argsort(places, kind="stable"), strata=strata, reference=reference, variances=variances)

    def to_json(self) -> dict[str, str | list[float]]:
        """Return it as JSON, a few bytes for each image: what others score candidates by."""
        return {
            "order": _packed(self.order, "<i4"),
            "strata": _packed(self.strata, "u1"),
            "reference": pack_scores(self.reference),
            "variances": self.variances.tolist(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SampleOrder:
        """Read it from JSON."""
        return cls(
            order=_unpacked(data["order"], "<i4"),
            strata=_unpacked(data["strata"], "u1"),
            reference=unpack_scores(data["reference"]),
            variances=np.array(data["variances"]),
        )

    def waves(self) -> tuple[int, ...]:
        """Return after how many images a score is looked at; the last is all."""
        count, found, wave = len(self.order), [], float(FIRST_WAVE)
        while count >= LEAST_SAMPLED and GROWTH * wave <= count:
            found.append(round(wave))
            wave *= GROWTH
        return (*found, count)

    def estimate(self, scores: Float64Array) -> MeanScore:
        """Return the mean score over all images with its sampling error, from the scores of the first n in order (n).

        Each stratum's variance has one more image of the variance that was expected: where the few that were seen do
        not differ, the others still may.
        """
        count, seen = len(self.order), len(scores)
        if seen == count:
            unordered = np.empty(count)
            unordered[self.order] = scores
            return MeanScore.of(unordered)
        images = self.order[:seen]
        differences, strata = scores - self.reference[images], self.strata[images]
        sizes = np.bincount(self.strata).astype(np.float64)
        drawn = np.bincount(strata, minlength=len(sizes)).astype(np.float64)
        weights, known = sizes / count, np.maximum(drawn, 1.0)
        means = np.bincount(strata, differences, len(sizes)) / known
        squares = np.bincount(strata, (differences - means[strata]) ** 2, len(sizes))
        variances = (squares + self.variances) / known
        error = math.sqrt(float((weights**2 * variances / known * (1.0 - drawn / sizes)).sum()))
        value = min(1.0, max(0.0, float(self.reference.mean() + (weights * means).sum())))
        return MeanScore(
            value=value,
            num_images=seen,
            deviation=None if is_right_or_wrong(scores) else self._deviation(scores, value),
            sampling_error=error,
            population=count,
        )

    def weights(self, seen: int) -> Float64Array:
        """Return of how many images each of the first n (n) is an example."""
        strata = self.strata[self.order[:seen]]
        examples: Float64Array = np.bincount(self.strata)[strata] / np.bincount(strata)[strata]
        return examples

    def _deviation(self, scores: Float64Array, mean: float) -> float:
        return math.sqrt(float(np.average((scores - mean) ** 2, weights=self.weights(len(scores)))))


def _chances(margins: Float64Array) -> Float64Array:
    """Return the chance that each image changes (N), FLIPS in the mean; all the same where no margin tells."""
    low, high = 0.0, float(margins.max(initial=0.0)) * 100.0 + 1e-9
    for _ in range(60):
        scale = (low + high) / 2.0
        if _normal(-margins / scale).mean() < FLIPS:
            low = scale
        else:
            high = scale
    return _normal(-margins / high)


def _normal(values: Float64Array) -> Float64Array:
    found: Float64Array = np.array([0.5 * math.erfc(-value / math.sqrt(2.0)) for value in values])
    return found


def _packed(values: Int64Array, dtype: str) -> str:
    return base64.b64encode(zlib.compress(values.astype(dtype).tobytes(), 9)).decode()


def _unpacked(text: str, dtype: str) -> Int64Array:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype).astype(np.int64)


def expect_images(count: int, largest_error: float) -> float:
    """Return on about how many of so many images a score is found to this standard error, of which 0 asks for all."""
    if largest_error == 0.0 or count < LEAST_SAMPLED:
        return float(count)
    drawn = TYPICAL_VARIANCE / largest_error**2
    return min(float(count), max(float(FIRST_WAVE), drawn / (1.0 + drawn / count)))  # of a finite population


def find_margins(outputs: Tensor) -> Float64Array:
    """Return by how much each image's largest logit (N x classes) exceeds the next (N)."""
    top = outputs.double().topk(min(2, outputs.shape[1]), dim=1).values.cpu().numpy()
    margins: Float64Array = np.nan_to_num(top[:, 0] - top[:, -1])
    return margins


def restore_order(packed: str, sample: Mapping[str, Any]) -> Float64Array | None:
    """Return packed scores in the order of a sample, as JSON, in that of the images (N); None where one is missing."""
    order = SampleOrder.from_json(sample).order
    seen = unpack_scores(packed) if packed else ()
    if len(seen) < len(order):
        return None
    scores = np.empty(len(order))
    scores[order] = seen
    return scores

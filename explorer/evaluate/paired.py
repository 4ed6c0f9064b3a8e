"""Whether one network is worse than another on the same images, and how surely: paired scores of images."""

from __future__ import annotations

import math

import numpy as np

from explorer.arrays import Float64Array
from explorer.evaluate.mean_score import is_right_or_wrong

LEVELS = 64
"""The largest difference in units of the statistic, to which others are rounded ..."""
SUMS = 2**16
"""... fewer where that would make more sums than these."""


def find_loss_error(reference: Float64Array, scores: Float64Array) -> float:
    """Return the standard error of how far the mean of scores (N) is below that of a reference on the same images (N).

    That of the mean difference, deviation / sqrt(N); of right and wrong images with half a pair of each kind added
    (Agresti and Min 2005, section 2), so that it is not 0 where no image differs.
    """
    differences, count = reference - scores, len(scores)
    if not is_right_or_wrong(reference) or not is_right_or_wrong(scores):
        return float(differences.std(ddof=1)) / math.sqrt(count) if count > 1 else 0.5
    lost, won = (float((differences == sign).sum()) + 0.5 for sign in (1, -1))
    return math.sqrt(lost + won - (lost - won) ** 2 / (count + 2)) / (count + 2)


def probability_of_no_less(differences: Float64Array) -> float:
    """Return the probability that chance alone makes paired differences (N) sum up to so little as they do.

    Under the null hypothesis that the two networks do equally well, each difference, a score minus that of the other
    network times the weight of its image, is as likely to have the other sign (Fisher's randomisation test; of right
    and wrong images with equal weights McNemar's exact test). The differences are rounded to a part of the largest
    first, for which the test stays exact; the distribution of their sum follows from its characteristic function, the
    product of their cosines, by one Fourier transform. 1 where no difference is left.
    """
    largest = float(np.abs(differences).max(initial=0.0))
    if largest == 0.0:
        return 1.0
    levels = max(1, min(LEVELS, SUMS // int(np.count_nonzero(differences))))
    steps = np.rint(differences * (levels / largest)).astype(np.int64)
    sizes, counts = np.unique(np.abs(steps[steps != 0]), return_counts=True)
    most = int((sizes * counts).sum())
    length = 1 << (2 * most + 1).bit_length()
    angles = 2.0 * np.pi * np.arange(length // 2 + 1) / length
    spectrum = np.ones(len(angles))
    for size, count in zip(sizes, counts, strict=True):
        spectrum *= np.cos(angles * size) ** count
    chances = np.fft.irfft(spectrum, length)  # of the sums 0, 1, ..., -2, -1
    total = int(steps.sum())
    sums = np.arange(-most, total + 1) % length
    return float(min(1.0, max(0.0, chances[sums].sum())))

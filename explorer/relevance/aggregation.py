"""From what each filter contributes for each image to one score for each filter."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from explorer.arrays import Float32Array
from explorer.errors import RelevanceError

Aggregation = Callable[[Float32Array, Float32Array], Float32Array]
"""(contributions, magnitudes), both images x filters -> scores (filters).

`contributions` are sums over positions with their signs, `magnitudes` sums of what is positive there and what is not,
without signs.
"""

NOT_KEPT = "relevance: these scores were not kept for each image, so they cannot be taken over other images or anew"


def _mean_abs(contributions: Float32Array, magnitudes: Float32Array) -> Float32Array:
    """Return the mean over images of |sum over positions|: what helps one image and harms another counts for both."""
    scores: Float32Array = np.abs(contributions).mean(0)
    return scores


def _mean_elementwise_abs(contributions: Float32Array, magnitudes: Float32Array) -> Float32Array:
    """Return the mean over images of sums of |.| over positions: opposite positions of one image do not cancel."""
    scores: Float32Array = magnitudes.mean(0)
    return scores


def _abs_mean(contributions: Float32Array, magnitudes: Float32Array) -> Float32Array:
    """Return |mean over images|: opposite images cancel."""
    scores: Float32Array = np.abs(contributions.mean(0))
    return scores


def _mean(contributions: Float32Array, magnitudes: Float32Array) -> Float32Array:
    """Return the mean with its sign: filters that speak against the class come last."""
    scores: Float32Array = contributions.mean(0)
    return scores


def _rms(contributions: Float32Array, magnitudes: Float32Array) -> Float32Array:
    """Return the root mean square over images."""
    scores: Float32Array = np.sqrt(np.square(contributions).mean(0))
    return scores


def _max_abs(contributions: Float32Array, magnitudes: Float32Array) -> Float32Array:
    """Return the largest |sum over positions| of any image."""
    scores: Float32Array = np.abs(contributions).max(0)
    return scores


AGGREGATIONS: Mapping[str, Aggregation] = {
    "mean_abs": _mean_abs,
    "mean_elementwise_abs": _mean_elementwise_abs,
    "abs_mean": _abs_mean,
    "mean": _mean,
    "rms": _rms,
    "max_abs": _max_abs,
}


def aggregate(contributions: Float32Array, magnitudes: Float32Array, name: str) -> Float32Array:
    """Return scores of filters (float32).

    Raises:
        RelevanceError: For an unknown name and where there is no image.
    """
    if name not in AGGREGATIONS:
        raise RelevanceError(f"relevance.aggregation: expected one of {', '.join(AGGREGATIONS)}, received {name!r}")
    if not len(contributions):
        raise RelevanceError(NOT_KEPT)
    return AGGREGATIONS[name](contributions, magnitudes).astype(np.float32)

"""Weight sharing: one-dimensional k-means over the weights of a layer, with integer centroids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def kmeans_1d(values: Floats, clusters: int, iterations: int = 100) -> Floats:
    """Centroids (ascending, at most `clusters`) of Lloyd's k-means on one-dimensional `values`.

    On sorted values a cluster is an interval, so that one iteration takes a binary search for the boundaries
    and prefix sums for the means. Starts from the quantiles and from equal steps over the range, and keeps the
    result with the smaller inertia; deterministic. Raises ValueError for no values or NaN.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64).ravel())
    if ordered.size == 0 or not np.isfinite(ordered).all():
        raise ValueError(f"kmeans_1d needs finite values, received {ordered.size} with NaN or infinity or none")
    if clusters < 1:
        raise ValueError(f"`clusters` must be at least 1, received {clusters}")
    starts = (
        np.quantile(ordered, (np.arange(clusters) + 0.5) / clusters),
        np.linspace(ordered[0], ordered[-1], 2 * clusters + 1)[1::2],
    )
    results = [_lloyd(ordered, np.unique(start), iterations) for start in starts]
    return min(results, key=lambda centroids: inertia(ordered, centroids))


def inertia(values: Floats, centroids: Floats) -> float:
    """Sum of squared distances of `values` to the nearest of the ascending `centroids`."""
    return float(np.square(values - centroids[nearest(values, centroids)]).sum())


def nearest(values: Floats, centroids: Floats) -> NDArray[np.int64]:
    """Index of the nearest of the ascending `centroids` for every value, the lower one on a tie."""
    middles = (centroids[1:] + centroids[:-1]) / 2
    return np.searchsorted(middles, values, side="left")


def share_codes(codes: Floats, limit: int, clusters: int, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Replace the real-valued codes (weight / scale) of a layer by at most `clusters` integers.

    The centroids are k-means centroids of the codes rounded to integers in -limit..limit, so that a shared
    layer stays an integer layer with one scale per channel. Where `mask` is False the code is zero; zero then
    is one of the `clusters` values.
    """
    kept = codes[mask]
    pruned = not bool(mask.all())
    free = clusters - 1 if pruned else clusters
    centroids = np.unique(np.clip(np.rint(kmeans_1d(kept, max(1, free))), -limit, limit))
    shared = np.zeros(codes.shape, dtype=np.int64)
    shared[mask] = centroids[nearest(kept, centroids)].astype(np.int64)
    return shared


def _lloyd(ordered: Floats, centroids: Floats, iterations: int) -> Floats:
    sums = np.concatenate(([0.0], np.cumsum(ordered)))
    for _ in range(iterations):
        middles = (centroids[1:] + centroids[:-1]) / 2
        ends = np.concatenate(([0], np.searchsorted(ordered, middles, side="right"), [ordered.size]))
        counts = np.diff(ends)
        filled = counts > 0
        moved = np.diff(sums[ends])[filled] / counts[filled]
        if moved.shape == centroids.shape and np.allclose(moved, centroids, rtol=0, atol=1e-12):
            break
        centroids = np.unique(moved)
    return centroids

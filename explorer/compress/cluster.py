"""Weight sharing: one-dimensional k-means over the weights of a layer, with integer centroids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BINS = 256
"""Of the histogram from which k-means starts (assumed: many for the 2 to 64 clusters in use)."""


def kmeans_1d(values: Floats, clusters: int, iterations: int = 100) -> Floats:
    """Centroids (ascending, at most `clusters`) of Lloyd's k-means on one-dimensional `values`.

    On sorted values a cluster is an interval: the best intervals of whole histogram bins are found exactly by
    dynamic programming (Wang and Song, 2011), and from their means one iteration takes a binary search for the
    boundaries and prefix sums for the means. Deterministic. Raises ValueError for no values or NaN.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64).ravel())
    if ordered.size == 0 or not np.isfinite(ordered).all():
        raise ValueError(f"kmeans_1d needs finite values, received {ordered.size} with NaN or infinity or none")
    if clusters < 1:
        raise ValueError(f"`clusters` must be at least 1, received {clusters}")
    distinct = np.unique(ordered)
    if len(distinct) <= clusters:
        return distinct
    return _lloyd(ordered, _interval_means(ordered, clusters), iterations)


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


def _interval_means(ordered: Floats, clusters: int) -> Floats:
    """Means of the `clusters` intervals of least inertia whose ends lie between histogram bins.

    Half of the bins are equally wide and half equally full, so that neither outliers nor lumps share one.
    """
    wide = np.linspace(ordered[0], ordered[-1], BINS // 2 + 1)[1:-1]
    full = ordered[np.arange(1, BINS // 2) * ordered.size // (BINS // 2)]
    ends = np.unique(np.concatenate(([0], np.searchsorted(ordered, np.concatenate((wide, full))), [ordered.size])))
    sums, squares = (np.concatenate(([0.0], np.cumsum(ordered**power)))[ends] for power in (1, 2))
    counts = np.maximum(ends[None, :] - ends[:, None], 1)
    spread = squares[None, :] - squares[:, None] - np.square(sums[None, :] - sums[:, None]) / counts
    spread[np.tril_indices(len(ends), -1)] = np.inf
    least, starts = spread[0], []
    for _ in range(min(clusters, len(ends) - 1) - 1):
        total = least[:, None] + spread
        starts.append(total.argmin(0))
        least = total.min(0)
    cuts = [len(ends) - 1]
    for start in reversed(starts):
        cuts.append(int(start[cuts[-1]]))
    cuts = sorted({0, *cuts})
    return np.unique(np.diff(sums[cuts]) / np.diff(ends[cuts]))


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

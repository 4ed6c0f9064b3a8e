"""Weight sharing: optimal one-dimensional k-means, over real values and with integers as centroids."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from explorer.arrays import Float64Array, Int64Array
from explorer.compress.candidate import Granularity

Mask = NDArray[np.bool_]
CutRange = tuple[int, int]
"""First and last place, between points, where a cut can be."""

GROUPS, FINER = 32, 8
"""Groups of points for each cluster that k-means starts with, and how many times more it goes on with (assumed: the
least time at 2,000 to 2 million weights)."""
ROUNDING = 1e-10
"""Share of a sum over all points that rounding in float64 may be off by (assumed)."""
NEGLIGIBLE = 1e-15
"""Share of all weights that prefix sums in float64 no longer tell from 0."""
ROWS_AT_ONCE = 16
"""Channels whose integer codebooks are found together (assumed: 8 MB of costs at 8 bits)."""


def kmeans_1d(values: Float64Array, clusters: int, weights: Float64Array | None = None) -> Float64Array:
    """Return centroids (ascending, at most `clusters`) of least weighted inertia, the global optimum.

    On sorted values a cluster is an interval; where it starts grows with where it ends, so that divide and conquer
    over prefix sums finds all starts in O(clusters n log n) (Wang and Song, 2011; Gronlund et al., 2017), of which
    bounds leave little to do: 2.4 million values take seconds. `weights` (of the values' shape, not negative, 1 each
    by default) say how much a value's squared distance counts; values of weight 0 (or below NEGLIGIBLE of all weights
    together) do not, unless all are of weight 0: then each counts 1.

    Raises:
        ValueError: For no values, NaN, infinity, negative weights, or fewer than one cluster.
    """
    if clusters < 1:
        raise ValueError(f"`clusters` must be at least 1, received {clusters}")
    points, counts = _weighed(values, weights)
    if len(points) <= clusters:
        return points
    # The mean is taken out: squares of small differences between large numbers would lose their digits.
    middle = float(np.average(points, weights=counts))
    prefix = _Prefix(np.append(0.0, np.cumsum((points - middle) * counts)), np.append(0.0, np.cumsum(counts)))
    cuts = _best_cuts(points, counts, prefix, clusters)
    return np.diff(prefix.sums[cuts]) / np.diff(prefix.weights[cuts]) + middle


def compute_inertia(values: Float64Array, centroids: Float64Array, weights: Float64Array | None = None) -> float:
    """Return the sum of the (weighted) squared distances of `values` to the nearest of the ascending `centroids`."""
    squares = np.square(values - centroids[find_nearest(values, centroids)])
    return float((squares if weights is None else squares * weights).sum())


def find_nearest(values: Float64Array, centroids: Float64Array) -> Int64Array:
    """Return the index of the nearest of the ascending `centroids` for every value, the lower one on a tie."""
    middles = (centroids[1:] + centroids[:-1]) / 2
    return np.searchsorted(middles, values, side="left")


def share_codes(
    codes: Float64Array,
    limit: int,
    clusters: int,
    mask: Mask,
    weights: Float64Array | None = None,
    granularity: Granularity = "layer",
) -> Int64Array:
    """Replace the real-valued codes (weight / scale) of a layer by at most `clusters` integers, at least error.

    `codes`, `mask` and `weights` (not negative, what a code's squared error counts; 1 by default, and where a
    codebook's are all zero) are out_channels x ...; centroids are integers in -limit..limit, so that a shared layer
    stays an integer layer with one scale per channel. They are the best of all such integers, not rounded k-means
    centroids. Where `mask` is False the code is zero, and zero is one of the values. Granularity "channel" gives each
    channel a codebook of its own.
    """
    channels = len(codes)
    rows = (1, -1) if granularity == "layer" else (channels, -1)
    flat, kept = codes.reshape(rows), mask.reshape(rows)
    counts = kept.astype(np.float64) if weights is None else np.where(kept, weights.reshape(rows), 0.0)
    counts = np.where(counts.any(axis=1, keepdims=True), counts, kept.astype(np.float64))
    books = find_integer_codebooks(flat, limit, clusters, counts, np.logical_not(kept.all(axis=1)))
    shared = np.stack([book[find_nearest(row, book)] for row, book in zip(flat, books, strict=True)])
    return np.where(kept, shared, 0).astype(np.int64).reshape(codes.shape)


def find_integer_codebooks(
    codes: Float64Array, limit: int, clusters: int, weights: Float64Array, with_zero: Mask
) -> Int64Array:
    """Return the best `clusters` integers in -limit..limit for every row of `codes`, ascending; rows x clusters.

    `weights` (rows x n) is what a code's squared distance to the nearest of them counts. Rows that are `with_zero`
    have zero among them. Neighbours a < c share the codes between them at their middle, a multiple of one half, so
    that sums up to these 4 limit + 1 places are all that the dynamic program over pairs (a, c) needs:
    O(n + clusters limit^2), however many codes there are.
    """
    parts = range(0, len(codes), ROWS_AT_ONCE)
    found = [
        _best_integers(_Halves.of(codes[i : i + ROWS_AT_ONCE], weights[i : i + ROWS_AT_ONCE], limit), clusters, zero)
        for i, zero in ((i, with_zero[i : i + ROWS_AT_ONCE]) for i in parts)
    ]
    return np.concatenate(found) - limit


class _Halves(NamedTuple):
    """Sums of weights, and of weights times code + limit, below every half integer: rows x (4 limit + 2)."""

    weights: Float64Array
    sums: Float64Array

    @classmethod
    def of(cls, codes: Float64Array, weights: Float64Array, limit: int) -> _Halves:
        """Return the sums below 0, 1/2, 1, ... 2 limit of code + limit; the last of all codes."""
        raised = codes + limit
        places = 4 * limit + 2
        # The first place that a code lies below: one that lies at a half belongs to those above it.
        place = np.clip(np.floor(2 * raised) + 1, 0, places - 1).astype(np.int64)
        place += places * np.arange(len(codes))[:, None]
        filled = [
            np.bincount(place.ravel(), amount.ravel(), len(codes) * places).reshape(len(codes), places)
            for amount in (weights, weights * raised)
        ]
        return cls(np.cumsum(filled[0], axis=1, dtype=np.float64), np.cumsum(filled[1], axis=1, dtype=np.float64))


def _best_integers(halves: _Halves, clusters: int, with_zero: Mask) -> Int64Array:
    """Return the codebooks as integers from 0 whose squared distances, less what all codebooks share, are least."""
    levels = halves.sums.shape[1] // 2
    grid = np.arange(levels)
    clusters = min(clusters, levels)
    low, high = grid[:, None], grid[None, :]
    # Codes below the middle of a and c are at (x - a)^2 instead of at (x - c)^2.
    change = (high - low) * (2 * halves.sums[:, low + high] - (low + high) * halves.weights[:, low + high])
    change[:, low >= high] = np.inf
    total = grid * (grid * halves.weights[:, -1:] - 2 * halves.sums[:, -1:])
    zero = levels // 2
    change[np.ix_(with_zero, grid < zero, grid > zero)] = np.inf
    best = np.where(with_zero[:, None] & (grid > zero), np.inf, 0.0)
    total[np.ix_(with_zero, grid < zero)] = np.inf
    before = []
    for _ in range(clusters - 1):
        tried = best[:, :, None] + change
        before.append(tried.argmin(1))
        best = tried.min(1)
    rows = np.arange(len(best))
    chosen = [(best + total).argmin(1)]
    for previous in reversed(before):
        chosen.append(previous[rows, chosen[-1]])
    return np.stack(chosen[::-1], axis=1)


class _Prefix(NamedTuple):
    """Sums over the first 0, 1, ... n points: of weight times value, and of weights."""

    sums: Float64Array
    weights: Float64Array

    def gain(self, start: Int64Array, end: Int64Array) -> Float64Array:
        """Return what a cluster of the points start..end-1 takes off the inertia: (sum of w x)^2 / sum of w, or 0."""
        weight = np.maximum(self.weights[end] - self.weights[start], np.finfo(np.float64).tiny)
        return np.square(self.sums[end] - self.sums[start]) / weight

    def mirrored(self) -> _Prefix:
        """Return the sums over the last 0, 1, ... n points."""
        return _Prefix((self.sums[-1] - self.sums)[::-1], (self.weights[-1] - self.weights)[::-1])


def _or_ones(weights: Float64Array) -> Float64Array:
    """Return the weights, or ones where they say nothing: all are zero."""
    return weights if weights.any() else np.ones_like(weights)


def _weighed(values: Float64Array, weights: Float64Array | None) -> tuple[Float64Array, Float64Array]:
    """Return the distinct values that count, ascending, and the weight of each."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    if flat.size == 0 or not np.isfinite(flat).all():
        raise ValueError(f"kmeans_1d needs finite values, received {flat.size} with NaN or infinity or none")
    if weights is None:
        points, counts = np.unique(flat, return_counts=True)
        return points, counts.astype(np.float64)
    given = np.asarray(weights, dtype=np.float64).ravel()
    if given.shape != flat.shape or not np.isfinite(given).all() or given.min() < 0:
        raise ValueError(f"`weights` must be finite, not negative, one for each of the {flat.size} values")
    points, index = np.unique(flat, return_inverse=True)
    sums = np.bincount(index.ravel(), weights=_or_ones(given), minlength=len(points))
    counted = sums > NEGLIGIBLE * sums.sum()
    return points[counted], sums[counted]


def _best_cuts(points: Float64Array, counts: Float64Array, prefix: _Prefix, clusters: int) -> Int64Array:
    """Return where the clusters of least inertia start, and at the end the number of points.

    Before every point is looked at, groups of ever fewer neighbours show where the cuts cannot be.
    """
    windows = [(0, len(points))] * (clusters - 1)
    groups = GROUPS * clusters
    while groups < len(points) / 2:
        windows = _narrowed(points, counts, prefix, windows, groups)
        groups *= FINER
    _, starts = _extended_all(prefix, windows)
    cuts = [len(points)]
    for (low, _), start in zip([(0, 0), *windows, (len(points),) * 2][:0:-1], reversed(starts), strict=True):
        cuts.append(int(start[cuts[-1] - low]))
    return np.unique(cuts)


def _narrowed(
    points: Float64Array, counts: Float64Array, prefix: _Prefix, windows: list[CutRange], groups: int
) -> list[CutRange]:
    """Return windows that hold all cuts of the optimum, if `windows` do, by clustering about so many groups of points.

    Take the optimum's centroids c and give each group to the one nearest to its mean. This takes at least as much
    off the inertia as the optimum does, less 2 (c' - c) sum (x - m)+ where a cut m between neighbours c and c' splits
    a group; m is beyond the group's mean, seen from those x, so that this is at most (c' - c) A, with A the largest
    sum of absolute deviations in a group. All cuts together lose at most A times the range of the points. A cut can
    therefore only lie in a group next to which the best clustering of groups with a cut there loses no more than that.
    """
    reach = np.append(0.0, np.cumsum(np.sqrt(np.diff(points) * (counts[1:] + counts[:-1]) / 2)))
    edges = np.unique(np.searchsorted(reach, np.linspace(0, reach[-1], groups + 1)[1:-1]))
    edges = np.unique(np.concatenate(([0], edges, [len(points)])))
    coarse = _Prefix(prefix.sums[edges], prefix.weights[edges])
    last = len(edges) - 1
    near = [
        (int(np.searchsorted(edges, low, "right")) - 1, int(np.searchsorted(edges, high, "left")))
        for low, high in windows
    ]
    before, _ = _extended_all(coarse, near)
    behind, _ = _extended_all(coarse.mirrored(), [(last - high, last - low) for low, high in reversed(near)])
    group_sums = np.add.reduceat(counts, edges[:-1])
    means = np.add.reduceat(points * counts, edges[:-1]) / group_sums
    deviations = np.add.reduceat(counts * np.abs(points - np.repeat(means, np.diff(edges))), edges[:-1])
    loss = deviations.max() * (points[-1] - points[0]) + ROUNDING * float(before[-1][0])
    found = []
    for place, (low, _) in enumerate(near):
        total = before[place] + behind[-2 - place][::-1]
        possible = low + np.flatnonzero(total >= before[-1][0] - loss)
        found.append((int(edges[max(possible[0] - 1, 0)]), int(edges[min(possible[-1] + 1, last)])))
    lows = np.maximum.accumulate([max(new[0], old[0]) for new, old in zip(found, windows, strict=True)])
    highs = np.minimum.accumulate([min(new[1], old[1]) for new, old in zip(found, windows, strict=True)][::-1])[::-1]
    return list(zip(lows.tolist(), highs.tolist(), strict=True))


def _extended_all(prefix: _Prefix, windows: list[CutRange]) -> tuple[list[Float64Array], list[Int64Array]]:
    """Return (best gain, start of the last cluster) of the points up to every place of each window, and up to the end.

    The points up to a place in window i are in i + 1 clusters, each of which ends in its window.
    """
    size = len(prefix.sums) - 1
    gains, starts = [], []
    best, before = np.zeros(1), (0, 0)
    for window in (*windows, (size, size)):
        best, start = _extended(prefix, best, before, window)
        gains.append(best)
        starts.append(start)
        before = window
    return gains, starts


def _extended(
    prefix: _Prefix, best: Float64Array, before: CutRange, window: CutRange
) -> tuple[Float64Array, Int64Array]:
    """Return the best gain up to every place in `window` with one cluster more than `best`, and where that one starts.

    `best` are the gains up to the places in the window `before`, which begins no later. Ends are visited in halving
    steps, all of one step at once: the starts of the two neighbours that are known by then bound where to look.
    """
    first, last = window
    gains, starts = np.zeros(last - first + 1), np.zeros(last - first + 1, dtype=np.int64)
    step = 1 << (last - first + 1).bit_length() >> 1
    while step:
        places = np.arange(step - 1, last - first + 1, 2 * step)
        low = np.where(places >= step, starts[places - step], before[0])
        high = np.where(places + step < len(starts), starts[np.minimum(places + step, len(starts) - 1)], before[1])
        lengths = np.minimum(high, places + first) - low + 1
        offsets = np.cumsum(lengths) - lengths
        tried = np.repeat(low - offsets, lengths) + np.arange(lengths.sum())
        gain = best[tried - before[0]] + prefix.gain(tried, np.repeat(places + first, lengths))
        gains[places] = np.maximum.reduceat(gain, offsets)
        hits = np.flatnonzero(gain == np.repeat(gains[places], lengths))
        starts[places] = tried[hits[np.searchsorted(hits, offsets)]]
        step //= 2
    return gains, starts

"""Exact one-dimensional k-means against scikit-learn's KMeans with ten starts: CPU time and inertia, as ratios.

Prints for each layer and codebook how many times less CPU time the optimum takes, and how much larger the inertia is
that scikit-learn finds; the last column is the codebook of integers that a layer is built with.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from explorer.compress.cluster import compute_inertia, kmeans_1d, share_codes

LAYERS = {"3x3, 16 to 16": 2_304, "3x3, 64 to 64": 36_864}
CLUSTERS = (8, 16, 32)
LIMIT = 127


def cpu_seconds(work: Callable[[], Any], repetitions: int) -> tuple[float, Any]:
    """Return CPU seconds of one call, mean over the repetitions, and its result."""
    start = time.process_time()
    for _ in range(repetitions):
        result = work()
    return (time.process_time() - start) / repetitions, result


def compare(name: str, weights: NDArray[np.float64], clusters: int) -> None:
    """Print one line: how a layer of these weights fares with a codebook of so many values."""
    codes = (weights * (LIMIT / np.abs(weights).max())).reshape(16, -1)
    mask = np.ones(codes.shape, dtype=np.bool_)
    theirs, fitted = cpu_seconds(lambda: KMeans(clusters, n_init=10, random_state=0).fit(weights[:, None]), 1)
    ours, centroids = cpu_seconds(lambda: kmeans_1d(weights, clusters), 5)
    integers, _ = cpu_seconds(lambda: share_codes(codes, LIMIT, clusters, mask), 5)
    worse = fitted.inertia_ / compute_inertia(weights, centroids) - 1.0
    print(
        f"{name}, {len(weights):6} weights, {clusters:2} clusters: {theirs / ours:4.1f} times less CPU time, inertia "
        f"of scikit-learn {worse:+.2%}; codebook of integers {theirs / integers:4.0f} times less"
    )


def main() -> None:
    """Compare on weights drawn from a Laplace distribution, which trained layers resemble."""
    for name, count in LAYERS.items():
        for clusters in CLUSTERS:
            compare(name, np.random.default_rng(0).laplace(0, 1, count), clusters)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()

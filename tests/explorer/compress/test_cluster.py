"""One-dimensional k-means against scikit-learn, and shared integer codes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from explorer.compress.cluster import inertia, kmeans_1d, nearest, share_codes

Floats = NDArray[np.float64]


def values_of(kind: str) -> Floats:
    draw = np.random.default_rng(5)
    if kind == "normal":
        return draw.normal(0, 1, 2000)
    if kind == "laplace":
        return draw.laplace(0, 1, 2000)
    if kind == "uniform":
        return draw.uniform(-1, 1, 2000)
    if kind == "lumps":
        return np.concatenate([draw.normal(centre, 0.05, 300) for centre in (-3, -1, 0, 0.5, 4)])
    if kind == "outlier":
        return np.concatenate((draw.normal(0, 0.05, 1999), [20.0]))
    return np.concatenate((np.zeros(1500), draw.normal(0, 1, 500)))


@pytest.mark.parametrize("clusters", [2, 4, 8, 16, 32])
@pytest.mark.parametrize("kind", ["normal", "laplace", "uniform", "lumps", "outlier", "mostly zero"])
def test_inertia_is_that_of_scikit_learn(kind: str, clusters: int) -> None:
    values = values_of(kind)
    oracle = KMeans(clusters, n_init=10, random_state=0).fit(values[:, None]).inertia_
    centroids = kmeans_1d(values, clusters)
    assert len(centroids) <= clusters
    assert (np.diff(centroids) > 0).all()
    assert inertia(values, centroids) <= oracle * 1.02


def test_the_result_depends_on_the_values_alone() -> None:
    values = values_of("laplace")
    shuffled = np.random.default_rng(0).permutation(values)
    assert np.array_equal(kmeans_1d(values, 7), kmeans_1d(shuffled, 7))


def test_few_values_are_their_own_centroids() -> None:
    assert kmeans_1d(np.array([2.0, -1.0, 2.0, 5.0]), 8).tolist() == [-1.0, 2.0, 5.0]
    assert kmeans_1d(np.array([3.0]), 1).tolist() == [3.0]
    assert kmeans_1d(np.array([1.0, 2.0, 9.0]), 1).tolist() == [4.0]


@pytest.mark.parametrize("values", [[1.0, float("nan")], [float("inf"), 0.0], []])
def test_nan_infinity_and_nothing_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="needs finite values"):
        kmeans_1d(np.array(values), 2)


def test_no_clusters_are_refused() -> None:
    with pytest.raises(ValueError, match="`clusters` must be at least 1, received 0"):
        kmeans_1d(np.array([1.0]), 0)


def test_the_nearest_centroid_is_the_lower_one_on_a_tie() -> None:
    assert nearest(np.array([-9.0, 0.5, 0.6, 2.0]), np.array([0.0, 1.0])).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("clusters", [2, 3, 8])
def test_shared_codes_are_few_integers_in_range(clusters: int) -> None:
    codes = np.random.default_rng(1).normal(0, 6, (20, 30))
    shared = share_codes(codes, 7, clusters, np.ones(codes.shape, dtype=np.bool_))
    assert len(np.unique(shared)) <= clusters
    assert np.abs(shared).max() <= 7
    centroids = np.unique(shared).astype(np.float64)
    assert np.array_equal(np.abs(codes - shared), np.abs(codes[..., None] - centroids).min(-1))


def test_pruned_codes_are_zero_and_zero_counts_as_one_value() -> None:
    codes = np.array([[5.0, 6.0, 5.2, -4.0, 0.3]])
    mask = np.array([[True, True, True, True, False]])
    assert share_codes(codes, 7, 3, mask).tolist() == [[5, 5, 5, -4, 0]]
    assert share_codes(codes, 7, 2, mask).tolist() == [[3, 3, 3, 3, 0]]

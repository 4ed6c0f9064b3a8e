"""One-dimensional k-means against brute force and scikit-learn, and shared integer codes against brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from explorer.arrays import Float64Array
from explorer.compress import cluster
from explorer.compress.cluster import compute_inertia, find_integer_codebooks, find_nearest, kmeans_1d, share_codes


def values_of(kind: str) -> Float64Array:
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
def test_scikit_learn_is_never_better(kind: str, clusters: int) -> None:
    values = values_of(kind)
    oracle = KMeans(clusters, n_init=10, random_state=0).fit(values[:, None]).inertia_
    centroids = kmeans_1d(values, clusters)
    assert len(centroids) == clusters
    assert (np.diff(centroids) > 0).all()
    assert compute_inertia(values, centroids) <= oracle * (1 + 1e-9)


def test_scikit_learn_is_never_better_with_weights() -> None:
    values, draw = values_of("laplace"), np.random.default_rng(3)
    weights = draw.exponential(1, values.shape) * (draw.random(values.shape) < 0.7)
    oracle = KMeans(9, n_init=10, random_state=0).fit(values[:, None], sample_weight=weights).inertia_
    assert compute_inertia(values, kmeans_1d(values, 9, weights), weights) <= oracle * (1 + 1e-9)


def least_inertia(values: Float64Array, weights: Float64Array, clusters: int) -> float:
    """Over all ways to cut the sorted values into intervals."""
    order = np.argsort(values)
    values, weights = values[order], weights[order]
    least = np.inf
    for cuts in combinations(range(1, len(values)), min(clusters, len(values)) - 1):
        total = 0.0
        for part in np.split(np.arange(len(values)), cuts):
            if weights[part].any():
                mean = np.average(values[part], weights=weights[part])
                total += float((weights[part] * np.square(values[part] - mean)).sum())
        least = min(least, total)
    return least


@given(
    pairs=st.lists(st.tuples(st.integers(-40, 40), st.integers(0, 5)), min_size=1, max_size=10),
    clusters=st.integers(1, 5),
    offset=st.sampled_from([0.0, 1e6]),
)
def test_no_clustering_is_better(pairs: list[tuple[int, int]], clusters: int, offset: float) -> None:
    values = np.array([value for value, _ in pairs]) / 4 + offset
    weights = np.array([float(weight) for _, weight in pairs])
    counted = weights if weights.any() else np.ones_like(weights)
    centroids = kmeans_1d(values, clusters, weights)
    assert len(centroids) <= clusters
    assert (np.diff(centroids) > 0).all()
    assert compute_inertia(values, centroids, counted) == pytest.approx(
        least_inertia(values, counted, clusters), abs=1e-6
    )
    assert np.array_equal(kmeans_1d(values, clusters), kmeans_1d(values, clusters, np.full(len(values), 4.0)))


def test_repetitions_and_weights_are_the_same() -> None:
    values = values_of("uniform")[:50]
    times = np.random.default_rng(2).integers(0, 4, 50)
    repeated = kmeans_1d(np.repeat(values, times), 6)
    np.testing.assert_allclose(kmeans_1d(values, 6, times.astype(np.float64)), repeated, rtol=1e-12)


@pytest.mark.parametrize("kind", ["normal", "laplace", "uniform", "lumps", "outlier", "mostly zero"])
def test_narrowing_where_cuts_can_be_changes_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = values_of(kind)
    weights = np.random.default_rng(1).exponential(1, values.shape)
    narrowed = [kmeans_1d(values, clusters, weights) for clusters in (2, 5, 17)]
    monkeypatch.setattr(cluster, "GROUPS", 10**9)
    for found in narrowed:
        everywhere = compute_inertia(values, kmeans_1d(values, len(found), weights), weights)
        assert compute_inertia(values, found, weights) == pytest.approx(everywhere, rel=1e-12)


@pytest.mark.parametrize("groups", [1, 2, 4])
@given(pairs=st.lists(st.tuples(st.integers(-40, 40), st.integers(0, 5)), min_size=6, max_size=14))
def test_narrowing_in_few_groups_keeps_the_optimum(groups: int, pairs: list[tuple[int, int]]) -> None:
    values, weights = np.array([value for value, _ in pairs]) / 4, np.array([weight + 0.5 for _, weight in pairs])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "GROUPS", groups)
        patch.setattr(cluster, "FINER", 2)
        centroids = kmeans_1d(values, 3, weights)
    assert compute_inertia(values, centroids, weights) == pytest.approx(least_inertia(values, weights, 3), abs=1e-9)


def test_a_weight_that_rounding_swallows_counts_nothing() -> None:
    values, weights = np.array([0.0, 1.0, 2.0, 9.0]), np.array([1.0, 1.0, 1.0, 1e-18])
    assert kmeans_1d(values, 2, weights).tolist() == [0.0, 1.5]


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


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [1.0, float("nan")]])
def test_wrong_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="finite, not negative, one for each of the 2 values"):
        kmeans_1d(np.array([1.0, 2.0]), 2, np.array(weights))


def test_no_clusters_are_refused() -> None:
    with pytest.raises(ValueError, match="`clusters` must be at least 1, received 0"):
        kmeans_1d(np.array([1.0]), 0)


def test_the_nearest_centroid_is_the_lower_one_on_a_tie() -> None:
    assert find_nearest(np.array([-9.0, 0.5, 0.6, 2.0]), np.array([0.0, 1.0])).tolist() == [0, 0, 1, 1]


@given(
    codes=st.lists(st.floats(-4.5, 4.5, width=16), min_size=1, max_size=12),
    clusters=st.integers(1, 4),
    with_zero=st.booleans(),
    seed=st.integers(0, 99),
)
def test_no_integer_codebook_is_better(codes: list[float], clusters: int, with_zero: bool, seed: int) -> None:
    values = np.array(codes)
    weights = np.random.default_rng(seed).integers(0, 3, len(values)).astype(np.float64)
    (found,) = find_integer_codebooks(values[None], 3, clusters, weights[None], np.array([with_zero]))
    assert len(found) == clusters
    assert (np.diff(found) > 0).all()
    assert not with_zero or 0 in found
    books = [np.array(book, float) for book in combinations(range(-3, 4), clusters) if 0 in book or not with_zero]
    assert compute_inertia(values, found, weights) == pytest.approx(
        min(compute_inertia(values, book, weights) for book in books)
    )


@pytest.mark.parametrize("clusters", [2, 3, 8])
def test_shared_codes_are_few_integers_in_range(clusters: int) -> None:
    codes = np.random.default_rng(1).normal(0, 6, (20, 30))
    shared = share_codes(codes, 7, clusters, np.ones(codes.shape, dtype=np.bool_))
    assert len(np.unique(shared)) <= clusters
    assert np.abs(shared).max() <= 7
    centroids = np.unique(shared).astype(np.float64)
    assert np.array_equal(np.abs(codes - shared), np.abs(codes[..., None] - centroids).min(-1))


@pytest.mark.parametrize("clusters", [3, 8, 16])
def test_integer_centroids_are_no_worse_than_rounded_ones(clusters: int) -> None:
    codes = np.random.default_rng(4).laplace(0, 20, (40, 50)).clip(-127, 127)
    shared = share_codes(codes, 127, clusters, np.ones(codes.shape, dtype=np.bool_))
    real = kmeans_1d(codes, clusters)
    error = float(np.square(codes - shared).sum())
    assert compute_inertia(codes, real) <= error <= compute_inertia(codes, np.unique(np.rint(real)))


def test_every_channel_can_have_a_codebook_of_its_own() -> None:
    draw = np.random.default_rng(8)
    codes, mask, weights = draw.normal(0, 40, (33, 20)), draw.random((33, 20)) < 0.8, draw.random((33, 20))
    mask[5], mask[6] = True, False
    shared = share_codes(codes.reshape(33, 5, 4), 127, 4, mask.reshape(33, 5, 4), weights.reshape(33, 5, 4), "channel")
    for channel in range(33):
        alone = share_codes(codes[[channel]], 127, 4, mask[[channel]], weights[[channel]])
        assert np.array_equal(shared[channel].ravel(), alone[0])
        assert len(np.unique(alone)) <= 4
    assert len(np.unique(shared)) > 4


def test_pruned_codes_are_zero_and_zero_counts_as_one_value() -> None:
    codes = np.array([[5.0, 6.0, 5.2, -4.0, 0.3]])
    mask = np.array([[True, True, True, True, False]])
    assert share_codes(codes, 7, 3, mask).tolist() == [[5, 5, 5, -4, 0]]
    assert share_codes(codes, 7, 2, mask).tolist() == [[5, 5, 5, 0, 0]]


def test_weights_move_integer_centroids() -> None:
    codes, mask = np.array([[0.0, 4.0, 10.0]]), np.ones((1, 3), dtype=np.bool_)
    assert share_codes(codes, 15, 2, mask).tolist() == [[2, 2, 10]]
    assert share_codes(codes, 15, 2, mask, np.array([[1.0, 9.0, 1.0]])).tolist() == [[4, 4, 10]]
    assert share_codes(codes, 15, 2, mask, np.zeros((1, 3))).tolist() == [[2, 2, 10]]

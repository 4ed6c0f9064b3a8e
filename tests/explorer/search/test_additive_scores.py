"""Predicted scores: effects that add up are found, what was never seen is less sure, gains are those of draws."""

import numpy as np
import pytest

from explorer.search.additive_scores import AdditiveScores, compute_expected_gain


def shares(points: np.ndarray) -> np.ndarray:
    effects = np.array([[0.0, 0.4, 0.9], [0.0, 0.2, 0.3], [-0.5, 0.0, 0.7]])
    odds = effects[np.arange(3), points].sum(axis=1)
    return np.asarray(1 / (1 + np.exp(-odds)))


def test_effects_that_add_up_are_found() -> None:
    every = np.stack(np.meshgrid(*[np.arange(3)] * 3), axis=-1).reshape(-1, 3)
    draw = np.random.default_rng(0).permutation(len(every))
    model = AdditiveScores(every[draw[:18]], shares(every[draw[:18]]))
    mean, deviation = model.predict(every[draw[18:]])
    expected = shares(every[draw[18:]])
    assert np.abs(mean - expected).max() < 0.04
    assert np.corrcoef(mean, expected)[0, 1] > 0.99
    assert (np.abs(mean - expected) < 3 * deviation).all()


def test_what_was_never_seen_is_less_sure() -> None:
    model = AdditiveScores(np.array([[0, 0], [0, 1], [1, 0]]), np.array([0.5, 0.6, 0.7]))
    _, deviation = model.predict(np.array([[0, 0], [2, 0], [2, 2]]))
    assert deviation[0] < deviation[1] < deviation[2]


def test_scores_of_none_and_of_all_are_taken() -> None:
    mean, deviation = AdditiveScores(np.array([[0], [1]]), np.array([0.0, 1.0])).predict(np.array([[0], [1]]))
    assert 0 < mean[0] < mean[1] < 1
    assert np.isfinite(deviation).all()


def test_one_scored_point_is_enough() -> None:
    mean, _ = AdditiveScores(np.array([[1, 1]]), np.array([0.8])).predict(np.array([[0, 1]]))
    assert mean[0] == pytest.approx(0.8)


def test_an_expected_gain_is_that_of_draws() -> None:
    drawn = np.random.default_rng(1).normal(0.7, 0.1, 400_000)
    for best in (0.5, 0.7, 0.85):
        found = compute_expected_gain(np.array([0.7]), np.array([0.1]), np.array([best]))
        assert found[0] == pytest.approx(np.maximum(drawn - best, 0).mean(), rel=0.03)
    assert compute_expected_gain(np.array([0.7]), np.array([0.0]), np.array([0.9]))[0] == 0.0

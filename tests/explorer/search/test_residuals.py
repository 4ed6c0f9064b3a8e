"""What the model misses: carried over as a random field says, more to points that differ on fewer axes."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.arrays import Float64Array, Int64Array
from explorer.search.residuals import OWN, REACH, SHARED, Residuals

SIZES = np.array([5, 1, 3, 4, 5, 5, 2, 4, 3, 5])
"""Of ten axes, on one of which nothing is decided."""
ERRORS = np.array([0.5, 1.0, 1.0, 1.0, 4.0] * 8)
"""Times those of 100 right or wrong answers, which they are at the median."""
UNKNOWN = np.linspace(0.0, 0.003, 40)


def draw(count: int, seed: int) -> Int64Array:
    points: Int64Array = np.random.default_rng(seed).integers(0, SIZES, (count, len(SIZES)))
    return points


def binomial_sd(score: float, num_images: int = 100) -> float:
    return float(np.sqrt(score * (1.0 - score) / num_images))


def correlation(first: Int64Array, second: Int64Array) -> float:
    differ = sum(int(one != other) for one, other in zip(first, second, strict=True))
    return float(np.exp(-differ / (REACH * 3.0)))  # nine axes on which something is decided


def test_it_is_the_conditional_mean_and_deviation_of_the_field() -> None:
    """By the textbook's formula, an entry of each covariance after the other."""
    points, new = draw(40, 0), draw(6, 1)
    known = np.linspace(0.6, 0.95, 40)
    errors = ERRORS * np.array([binomial_sd(score) for score in known])
    field = Residuals(SIZES, points, known, errors, UNKNOWN)
    missed = np.random.default_rng(2).standard_normal((3, 40)) * 0.01
    guesses = np.array([[0.9, 0.8, 0.5, 0.95, 0.3, 0.9]] * 3)
    found = field.predict_with_sd(new, guesses, field.weigh(missed))
    assert found.values == pytest.approx(field.predict(new, guesses, field.weigh(missed)), abs=1e-12)
    covariance = np.diag([OWN**2 * error**2 + unknown**2 for error, unknown in zip(errors, UNKNOWN, strict=True)])
    for i in range(40):
        for j in range(40):
            covariance[i, j] += SHARED**2 * errors[i] * errors[j] * correlation(points[i], points[j])
    inverse = np.linalg.inv(covariance)
    own = [OWN**2 * errors[i] ** 2 * float(inverse[i] @ missed[0]) for i in range(40)]
    assert field.find_noise(missed[0]) == pytest.approx(own, rel=1e-9)
    for at, point in enumerate(new):
        sd = SHARED * binomial_sd(guesses[0, at])
        cross = np.array([sd * SHARED * errors[j] * correlation(point, points[j]) for j in range(40)])
        assert found.values[:, at] == pytest.approx([float(cross @ inverse @ each) for each in missed], rel=1e-9)
        assert found.sd[:, at] == pytest.approx(np.sqrt(sd**2 - cross @ inverse @ cross), rel=1e-9)


def test_without_any_score_nothing_is_carried_over() -> None:
    field = Residuals(SIZES, draw(0, 0), np.zeros(0), np.zeros(0), np.zeros(0))
    found = field.predict_with_sd(draw(3, 1), np.full((2, 3), 0.9), field.weigh(np.zeros((2, 0))))
    assert (found.values == 0).all()
    assert (found.sd == 0).all()


def test_what_is_alike_gets_most_of_it_and_is_known_best() -> None:
    point = draw(1, 0)
    moved = [point[0].copy() for _ in range(len(SIZES) + 1)]
    for axis in range(len(SIZES)):
        for each in moved[axis + 1 :]:
            each[axis] = (each[axis] + 1) % SIZES[axis]
    field = Residuals(SIZES, point, np.array([0.9]), np.array([0.01]), np.zeros(1))
    scores = np.full((1, len(moved)), 0.9)
    values, unknown = field.predict_with_sd(np.array(moved), scores, field.weigh(np.array([[0.02]])))
    alike = [axis for axis in range(len(SIZES)) if SIZES[axis] > 1]
    assert values[0, 0] == pytest.approx(0.02 * SHARED**2 / (SHARED**2 + OWN**2))
    assert (np.diff(values[0, [0, *(axis + 1 for axis in alike)]]) < 0).all()
    assert (np.diff(unknown[0, [0, *(axis + 1 for axis in alike)]]) > 0).all()


def interact(points: Int64Array) -> Float64Array:
    """What no sum over axes says: products of pairs of them."""
    centred = points / np.maximum(SIZES - 1, 1) - 0.5
    products: Float64Array = 0.04 * (
        centred[:, 0] * centred[:, 4] + centred[:, 2] * centred[:, 9] + centred[:, 3] * centred[:, 5]
    )
    return products


def test_points_near_those_evaluated_are_predicted_better_with_it() -> None:
    random = np.random.default_rng(4)
    points = draw(200, 3)
    near = points[random.integers(0, 200, 300)].copy()
    axes = random.integers(0, len(SIZES), (300, 2))
    near[np.arange(300)[:, None], axes] = random.integers(0, SIZES[axes])
    field = Residuals(SIZES, points, np.full(200, 0.9), np.full(200, 0.01), np.zeros(200))
    carried = field.predict(near, np.full((1, 300), 0.9), field.weigh(interact(points)[None]))[0]
    left, all_of_it = np.std(interact(near) - carried), np.std(interact(near))
    assert left < 0.8 * all_of_it


def test_scores_without_any_error_or_doubt_are_no_failure() -> None:
    points = draw(5, 0)
    field = Residuals(SIZES, points, np.ones(5), np.full(5, 1e-3), np.zeros(5))
    carried = field.predict_with_sd(points, np.ones((1, 5)), field.weigh(np.zeros((1, 5))))
    assert (carried.values == 0).all()
    assert (carried.sd == 0).all()
    guess = field.predict_with_sd(draw(3, 1), np.full((1, 3), 0.9), field.weigh(np.zeros((1, 5))))
    assert (guess.sd < 0.02).all()

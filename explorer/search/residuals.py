"""What the model misses of points that were evaluated, carried over to points that are like them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from explorer.arrays import Float64Array, Int64Array

SHARED, OWN = 0.8, 0.3
"""Shares of a score's standard error: of what is carried over to points like it, and of what is its alone. All are
scored on the same images, so that what these show by chance is not drawn anew for each (assumed: of few pairs, and of
few reaches, those by which scores found later were likeliest, of five LeNets on digits and of ResNet-20)."""
REACH = 1.6
"""Of the root of the number of axes: points that differ on so many are correlated by 1 / e (assumed)."""
LEAST_VARIANCE = 1e-3
"""Of a score between 0 and 1, from which its error says how sure others are (assumed)."""


class Prediction(NamedTuple):
    """Values of N points by each of several functions (functions x N), and standard deviations of what is unknown."""

    values: Float64Array
    sd: Float64Array


class Residuals:
    """Scores less the model's, as a random field over points (regression kriging: Hengl, Heuvelink and Rossiter, 2007).

    The field's standard deviation at a point that was scored is SHARED times the standard error of its score; at others
    it is the same share of sqrt(s (1 - s)), the largest that scores in [0, 1] of mean s can have, as it is at the
    median of those scored. On d axes differing, it is correlated by exp(-d / reach); axes of layers that a network
    lacks count like others. What stays unknown of it is given for each point alone.
    """

    def __init__(
        self,
        num_values: Int64Array,
        points: Int64Array,
        scores: Float64Array,
        errors: Float64Array,
        unknown_sd: Float64Array,
    ) -> None:
        """Start from what was scored.

        Args:
            num_values: How many values each axis has.
            points: N x axes of indices.
            scores: N, with their standard `errors`.
            unknown_sd: N, standard deviations of what the model cannot say of each point alone.
        """
        self._first = np.cumsum(num_values) - num_values
        self._num_values = int(num_values.sum())
        self._reach = REACH * np.sqrt(np.count_nonzero(num_values > 1) or 1)
        self._known = self._encode(points)
        variances = np.clip(scores * (1.0 - scores), LEAST_VARIANCE, None)
        self._sd_by_score = SHARED * float(np.median(errors / np.sqrt(variances))) if len(scores) else 0.0
        self._sd = SHARED * errors
        self._own_variance = (OWN * errors) ** 2
        covariance = self._correlate(points) * np.outer(self._sd, self._sd)
        covariance[np.diag_indices_from(covariance)] += self._own_variance + unknown_sd**2
        self._precision = np.linalg.inv(covariance)

    def find_noise(self, missed: Float64Array) -> Float64Array:
        """Return what of the N misses of a function is the error of each score alone, as far as it is known."""
        own: Float64Array = self._own_variance * (self._precision @ missed)
        return own

    def weigh(self, missed: Float64Array) -> Float64Array:
        """Return the weights with which several functions' misses (functions x N) are carried over: once for each."""
        weights: Float64Array = missed @ self._precision * self._sd
        return weights

    def predict(self, points: Int64Array, scores: Float64Array, weights: Float64Array) -> Float64Array:
        """Return what is added to the functions' scores of points (functions x points), by their weights."""
        return (weights @ self._correlate(points).T) * self._guess_sd(scores)

    def predict_with_sd(self, points: Int64Array, scores: Float64Array, weights: Float64Array) -> Prediction:
        """Return the same, and the standard deviation of what stays unknown of it."""
        correlations, sd = self._correlate(points), self._guess_sd(scores)
        covariance = correlations * self._sd
        known = np.einsum("pn,pn->p", covariance, covariance @ self._precision)
        return Prediction((weights @ correlations.T) * sd, sd * np.sqrt(np.clip(1.0 - known, 0.0, None)))

    def _guess_sd(self, scores: Float64Array) -> Float64Array:
        inside = np.clip(scores, 0.0, 1.0)
        sd: Float64Array = self._sd_by_score * np.sqrt(inside * (1.0 - inside))
        return sd

    def _correlate(self, points: Int64Array) -> Float64Array:
        """Return the field's correlations between points and those scored, points x N."""
        differ = len(self._first) - (self._encode(points) @ self._known.T).astype(np.float64)
        correlations: Float64Array = np.exp(-differ / self._reach)
        return correlations

    def _encode(self, points: Int64Array) -> NDArray[np.float32]:
        """Return 1 for each value that a point has, and 0 for the others: the products count equal ones, exactly."""
        encoded = np.zeros((len(points), self._num_values), dtype=np.float32)
        encoded[np.arange(len(points))[:, None], points + self._first] = 1.0
        return encoded

"""The score of any point, predicted: the table's losses, corrected by Bayesian regression on what was evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from explorer.arrays import Float64Array, Int64Array
from explorer.search.loss_terms import Losses, LossTerms, TakenOptions
from explorer.search.residuals import Prediction, Residuals

ITERATIONS = 6
"""Of Gauss and Newton, for each of two values of the discrepancy; they end once nothing moves (assumed)."""
SETTLED = 0.02
"""Of any parameter, what counts as nothing (assumed)."""
DISCREPANCY = 0.2
DISCREPANCIES = (0.05, 0.1, 0.2, 0.4)
"""Standard deviations, on the scale of the link, of what the model cannot say of a point: the one to start from, and
those of which the likeliest is taken (assumed)."""
SHIFT_SD, SLOPE_SD, TOP_SD, BOTTOM_SD = 3.0, 0.5, 0.02, 0.1
"""Prior standard deviations of the link: its place, the logarithm of its slope, and the scores without any and with all
loss (assumed)."""
SLOPES, PLACES = np.linspace(-1.0, 0.5, 4), np.linspace(0.0, 1.0, 21)
"""Logarithms of slopes and quantiles of the losses among which the link is looked for first (assumed)."""
ROUGH = 0.05
"""Standard error that is added there (assumed)."""
FAILED = 0.0, np.inf
"""Score and standard error of a candidate that cannot be computed."""
FAILED_ERROR = 0.1
"""Standard error that the model takes its score to have (assumed)."""
LEAST_ERROR = 1e-3
"""Standard error below which no score is taken to be known (assumed)."""
LINK = 4
"""Parameters of the link, the last of all: place, logarithm of the slope, top, bottom."""


class Functions(NamedTuple):
    """Several functions of which each may be the score: parameters of the model, and weights of what it misses."""

    parameters: Float64Array
    """Functions x parameters."""
    weights: Float64Array
    """Functions x points that were scored."""

    def only(self, place: int) -> Functions:
        """Return one of them."""
        return Functions(*(each[place : place + 1] for each in self))


class _Scores(NamedTuple):
    """Scores of N points, and by how much each falls with the argument of the link."""

    scores: Float64Array
    slopes: Float64Array


class _Places(NamedTuple):
    """Where sums over what points choose go, flat: of the terms (N x terms), and of the parameters."""

    terms: Int64Array
    parameters: Int64Array


class _Linear(NamedTuple):
    """Scores of N points near some parameters."""

    scores: Float64Array
    slopes: Float64Array
    jacobian: Float64Array
    """N x parameters."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surrogate:
    """The posterior after N evaluations: its mode, and what draws from it take.

    The loss of a point is the sum of its terms, each times the exponential of its features' weights, and of twice the
    geometric mean of neighbours times their correlation. The score falls with the loss from `top` to `bottom` along a
    logistic function of its logarithm. All of these are parameters with a normal prior, whose mean is the table. What
    they miss of the evaluated is carried over to points that are like them (`explorer.search.residuals`).
    """

    terms: LossTerms
    center: float
    """Logarithm of the median loss, from which the link counts."""
    points: Int64Array
    """Those scored, which are all evaluated but the failed, with their `scores`."""
    scores: Float64Array
    mode: Functions
    """Of one function."""
    prior_sd: Float64Array
    jacobian: Float64Array
    """Of the evaluated, N x parameters."""
    precision: Float64Array
    """The inverse of the covariance of their scores, N x N."""
    noise_sd: Float64Array
    discrepancy: float
    residuals: Residuals
    smoothed: Float64Array
    """Scores of the evaluated without what is their own error alone; 0 of the failed."""

    def predict(self, points: Int64Array, functions: Functions) -> Float64Array:
        """Return the scores of points (N x axes of indices), functions x N."""
        scores = self._model(points, functions.parameters).scores
        return scores + self.residuals.predict(points, scores, functions.weights)

    def predict_with_sd(self, points: Int64Array, functions: Functions) -> Prediction:
        """Return the scores of points (N x axes of indices), and what is unknown of each."""
        scores, slopes = self._model(points, functions.parameters)
        carried = self.residuals.predict_with_sd(points, scores, functions.weights)
        return Prediction(scores + carried.values, np.hypot(carried.sd, self.discrepancy * slopes))

    def draw(self, count: int, random: np.random.Generator) -> Functions:
        """Return functions drawn from the posterior, by Matheron's rule."""
        mode = self.mode.parameters[0]
        prior = random.standard_normal((count, len(mode))) * self.prior_sd
        seen = prior @ self.jacobian.T + random.standard_normal((count, len(self.noise_sd))) * self.noise_sd
        drawn = mode + prior - (seen @ self.precision @ self.jacobian) * self.prior_sd**2
        missed = self.scores - self._model(self.points, drawn).scores
        return Functions(drawn, self.residuals.weigh(missed))

    def _model(self, points: Int64Array, parameters: Float64Array) -> _Scores:
        chosen = self.terms.choose(points)
        found = [_predict(self.terms, chosen, each, self.center) for each in parameters]
        return _Scores(np.stack([each.scores for each in found]), np.stack([each.slopes for each in found]))


def fit_surrogate(terms: LossTerms, points: Int64Array, scores: Float64Array, errors: Float64Array) -> Surrogate:
    """Return the posterior of the parameters given scores with their standard errors.

    The mode is found by Gauss and Newton's iterations, each a linear regression with a normal prior, in as many
    unknowns as there are scores (Rasmussen and Williams, 2006, section 2.1.2); around it the posterior is taken to be
    normal.

    Args:
        points: N x axes of indices, N >= 1.
        errors: Infinite for those that failed: their scores of 0 say nothing of what images show by chance.
    """
    scored = np.isfinite(errors)
    errors = np.where(scored, np.maximum(errors, LEAST_ERROR), FAILED_ERROR)
    prior_sd = np.concatenate((terms.prior_sd, [SHIFT_SD, SLOPE_SD, TOP_SD, BOTTOM_SD]))
    mean = np.zeros(len(prior_sd))
    mean[-2] = scores.max()
    chosen = terms.choose(points)
    places = _list_places(terms, chosen, len(mean))
    losses = np.log(Losses(terms, chosen, mean[:-LINK]).total)
    center = float(np.median(losses))
    mode, discrepancy = mean.copy(), DISCREPANCY
    mode[-4:-2] = _guess_link(losses - center, scores, errors)
    for _ in range(2):
        for _ in range(ITERATIONS):
            before = mode
            near = _linearise(terms, chosen, places, mode, center)
            noise = np.hypot(errors, discrepancy * near.slopes)
            spread = near.jacobian * prior_sd
            covariance = spread @ spread.T  # of one matrix, which takes half as long as a product of two
            target = scores - near.scores + near.jacobian @ (mode - mean)
            wanted = mean + prior_sd * (spread.T @ np.linalg.solve(covariance + np.diag(noise**2), target))
            mode = _step(terms, chosen, center, scores, noise, mean, prior_sd, mode, wanted)
            if np.abs(mode - before).max() < SETTLED:
                break
        discrepancy = _find_likeliest(covariance, target, errors, near.slopes)
    near = _linearise(terms, chosen, places, mode, center)
    unknown = discrepancy * near.slopes
    noise = np.hypot(errors, unknown)
    spread = near.jacobian * prior_sd
    covariance = spread @ spread.T
    residuals = Residuals(terms.sizes, points[scored], scores[scored], errors[scored], unknown[scored])
    missed = (scores - near.scores)[scored]
    smoothed = np.zeros(len(scores))
    smoothed[scored] = scores[scored] - residuals.find_noise(missed)
    return Surrogate(
        terms=terms,
        center=center,
        points=points[scored],
        scores=scores[scored],
        mode=Functions(mode[None], residuals.weigh(missed[None])),
        prior_sd=prior_sd,
        jacobian=near.jacobian,
        precision=np.linalg.inv(covariance + np.diag(noise**2)).astype(np.float64, copy=False),
        noise_sd=noise,
        discrepancy=discrepancy,
        residuals=residuals,
        smoothed=smoothed,
    )


def _predict(terms: LossTerms, chosen: TakenOptions, parameters: Float64Array, center: float) -> _Scores:
    losses = np.log(Losses(terms, chosen, parameters[:-LINK]).total) - center
    value = _fall(np.exp(parameters[-3]) * losses + parameters[-4])
    span = parameters[-2] - parameters[-1]
    return _Scores(parameters[-1] + span * value, span * value * (1.0 - value))


def _list_places(terms: LossTerms, chosen: TakenOptions, num_parameters: int) -> _Places:
    rows, num_terms = np.arange(len(chosen.options))[:, None], chosen.options.shape[1]
    own = np.concatenate((np.arange(num_terms), *terms.pairs.T))
    features = terms.features[chosen.options].reshape(len(rows), -1)
    return _Places((rows * num_terms + own).ravel(), (rows * num_parameters + features).ravel())


def _linearise(
    terms: LossTerms, chosen: TakenOptions, places: _Places, parameters: Float64Array, center: float
) -> _Linear:
    found = Losses(terms, chosen, parameters[:-LINK])
    losses, slope = np.log(found.total) - center, np.exp(parameters[-3])
    value = _fall(slope * losses + parameters[-4])
    top, bottom = parameters[-2:]
    slopes = (top - bottom) * value * (1.0 - value)
    crossed = found.products * found.correlations / 2
    moved = _add_up(places.terms, np.concatenate((found.parts, crossed, crossed), axis=1), found.parts.shape[1])
    jacobian = _add_up(places.parameters, np.repeat(moved, terms.features.shape[1], axis=1), len(parameters))
    jacobian[:, terms.num_features] = 0.0
    jacobian[:, terms.num_features + 1 : -LINK] = found.products
    jacobian[:, :-LINK] *= -(slopes * slope / found.total)[:, None]
    jacobian[:, -LINK:] = np.column_stack((-slopes, -slopes * slope * losses, value, 1.0 - value))
    return _Linear(bottom + (top - bottom) * value, slopes, jacobian)


def _add_up(places: Int64Array, values: Float64Array, count: int) -> Float64Array:
    """Return in each of so many columns the sum of the values of a row that are for it: N x count."""
    sums = np.bincount(places, values.ravel(), minlength=len(values) * count).astype(np.float64, copy=False)
    return sums.reshape(len(values), count)


def _fall(argument: Float64Array) -> Float64Array:
    """Return the logistic function that falls from 1 to 0."""
    value: Float64Array = 1.0 / (1.0 + np.exp(np.clip(argument, -30.0, 30.0)))
    return value


def _guess_link(losses: Float64Array, scores: Float64Array, errors: Float64Array) -> tuple[float, float]:
    """Return the place and the logarithm of the slope, of a few, by which uncorrected losses come nearest to scores."""
    best, found = np.inf, (0.0, 0.0)
    for slope in SLOPES.tolist():
        for place in (*np.quantile(losses, PLACES), losses.max() + 2.0):
            argument = np.exp(slope) * (losses - place)
            away = (scores - scores.max() * _fall(argument)) / np.hypot(errors, ROUGH)
            error = float(away @ away) + (slope / SLOPE_SD) ** 2
            if error < best:
                best, found = error, (float(-np.exp(slope) * place), slope)
    return found


def _step(  # noqa: PLR0913, PLR0917  (what the posterior is made of)
    terms: LossTerms,
    chosen: TakenOptions,
    center: float,
    scores: Float64Array,
    noise: Float64Array,
    mean: Float64Array,
    prior_sd: Float64Array,
    mode: Float64Array,
    wanted: Float64Array,
) -> Float64Array:
    """Return parameters on the way to those wanted, as far as the posterior rises; those there are if it does not."""
    known = prior_sd > 0

    def miss(parameters: Float64Array) -> float:
        away = (scores - _predict(terms, chosen, parameters, center).scores) / noise
        moved = (parameters - mean)[known] / prior_sd[known]
        return float(away @ away + moved @ moved)

    start = miss(mode)
    for share in (1.0, 0.5, 0.25, 0.125):
        tried = mode + share * (wanted - mode)
        if miss(tried) <= start:
            return tried
    return mode


def _find_likeliest(
    covariance: Float64Array, target: Float64Array, errors: Float64Array, slopes: Float64Array
) -> float:
    """Return the discrepancy under which what was observed is likeliest."""
    best, found = np.inf, DISCREPANCIES[0]
    for discrepancy in DISCREPANCIES:
        factor = np.linalg.cholesky(covariance + np.diag(errors**2 + (discrepancy * slopes) ** 2))
        half = np.linalg.solve(factor, target)
        value = float(half @ half) / 2 + float(np.log(np.diag(factor)).sum())
        if value < best:
            best, found = value, discrepancy
    return found

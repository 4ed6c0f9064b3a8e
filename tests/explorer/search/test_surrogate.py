"""The surrogate: its derivatives, what it learns of a table that is wrong, and what its draws vary by."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.arrays import Float64Array, Int64Array
from explorer.search.axes import ACTIVATION_BITS, WEIGHT_BITS, Axis
from explorer.search.loss_terms import LossTerms, list_terms
from explorer.search.sensitivity import Sensitivity
from explorer.search.space import SearchSpace
from explorer.search.surrogate import FAILED, LINK, Surrogate, _linearise, _list_places, _predict, fit_surrogate

LAYERS = tuple("abcdefgh")
WIDTHS = (2, 3, 4, 6, 8)
SPACE = SearchSpace(
    layers=LAYERS,
    axes=tuple(Axis(knob=knob, of=layer, values=WIDTHS) for layer in LAYERS for knob in (WEIGHT_BITS, ACTIVATION_BITS)),
)
ERROR = 0.005


def table_of(factors: Float64Array) -> Sensitivity:
    return Sensitivity(
        weights={
            layer: {choice: factor * 4.0**-choice.weight_bits for choice in SPACE.weight_choices(layer)}
            for layer, factor in zip(LAYERS, factors, strict=True)
        },
        activations={layer: {bits: 0.3 * 4.0**-bits for bits in WIDTHS} for layer in LAYERS},
        filters={},
    )


def draw(count: int, seed: int) -> Int64Array:
    return np.random.default_rng(seed).integers(0, len(WIDTHS), (count, len(SPACE.axes)))


def truth(points: Int64Array) -> Float64Array:
    """Scores by another table than that which is known: some layers lose much more."""
    factors = np.exp(np.random.default_rng(7).standard_normal(len(LAYERS)))
    terms = list_terms(SPACE, table_of(factors))
    losses = terms.losses[terms.options(points)].sum(1)
    scores: Float64Array = 0.1 + 0.85 / (1.0 + 20.0 * losses)
    return scores


def fitted(count: int) -> tuple[LossTerms, Surrogate]:
    terms, points = list_terms(SPACE, table_of(np.ones(len(LAYERS)))), draw(count, 0)
    noise = np.random.default_rng(1).standard_normal(count) * ERROR
    return terms, fit_surrogate(terms, points, truth(points) + noise, np.full(count, ERROR))


def test_derivatives_are_differences() -> None:
    terms, points = list_terms(SPACE, table_of(np.ones(len(LAYERS)))), draw(5, 0)
    random = np.random.default_rng(3)
    parameters = random.standard_normal(len(terms.prior_sd) + LINK) * 0.2
    parameters[terms.num_features] = 0.0
    parameters[-2:] = 0.9, 0.1
    chosen = terms.choose(points)
    found = _linearise(terms, chosen, _list_places(terms, chosen, len(parameters)), parameters, -3.0)
    for place in (*random.integers(0, terms.num_features, 12), *range(terms.num_features + 1, len(parameters))):
        moved = parameters.copy()
        moved[place] += 1e-6
        difference = (_predict(terms, terms.choose(points), moved, -3.0).scores - found.scores) / 1e-6
        assert found.jacobian[:, place] == pytest.approx(difference, abs=2e-6)
    assert (found.jacobian[:, terms.num_features] == 0).all()


def test_evaluations_correct_the_table() -> None:
    unseen = draw(200, 5)

    def miss(count: int) -> float:
        _, model = fitted(count)
        away = model.predict(unseen, model.mode)[0] - truth(unseen)
        return float(np.sqrt((away**2).mean()))

    few, many = miss(3), miss(150)
    assert many < 0.015
    assert many < few / 3


def test_draws_vary_about_the_mode_less_where_more_is_known() -> None:
    unseen = draw(50, 5)
    spreads = []
    for count in (5, 150):
        _, model = fitted(count)
        scores = model.predict(unseen, model.draw(200, np.random.default_rng(0)))
        away = scores.mean(0) - model.predict(unseen, model.mode)[0]
        spreads.append(scores.std(0).mean())
        assert np.abs(away).mean() < spreads[-1]
    assert spreads[1] < spreads[0] / 3


def test_what_is_smoothed_is_nearer_to_the_truth_than_what_was_observed() -> None:
    _, model = fitted(60)
    noise = np.random.default_rng(1).standard_normal(60) * ERROR
    assert np.abs(model.smoothed - truth(draw(60, 0))).mean() < np.abs(noise).mean()


def test_a_point_keeps_what_is_its_own() -> None:
    """Where points differ from the model by far more than their errors, what was observed is believed."""
    terms, points = list_terms(SPACE, table_of(np.ones(len(LAYERS)))), draw(150, 0)
    true = truth(points) + np.random.default_rng(5).standard_normal(150) * 0.05
    observed = true + np.random.default_rng(1).standard_normal(150) * ERROR
    model = fit_surrogate(terms, points, observed, np.full(150, ERROR))
    assert np.sqrt(((model.smoothed - true) ** 2).mean()) < 0.007
    assert np.sqrt(((model.predict(points, model.mode)[0] - true) ** 2).mean()) > 0.02


def test_each_draw_carries_over_what_it_misses_itself_of_what_was_observed() -> None:
    terms, points = list_terms(SPACE, table_of(np.ones(len(LAYERS)))), draw(60, 0)
    random = np.random.default_rng(2)
    observed = truth(points) + random.standard_normal(60) * 0.05
    model = fit_surrogate(terms, points, observed, np.full(60, ERROR))
    drawn = model.draw(5, random)
    chosen = terms.choose(points)
    missed = [observed - _predict(terms, chosen, parameters, model.center).scores for parameters in drawn.parameters]
    assert drawn.weights == pytest.approx(model.residuals.weigh(np.array(missed)), rel=1e-9)


def test_what_is_in_doubt_is_what_the_field_and_the_model_leave_unknown() -> None:
    _, model = fitted(60)
    unseen, drawn = draw(30, 5), model.draw(4, np.random.default_rng(0))
    values, unknown = model.predict_with_sd(unseen, drawn)
    assert (values == model.predict(unseen, drawn)).all()
    found = [
        _predict(model.terms, model.terms.choose(unseen), parameters, model.center) for parameters in drawn.parameters
    ]
    scores, slopes = (np.stack([each[place] for each in found]) for place in (0, 1))
    rest = model.residuals.predict_with_sd(unseen, scores, drawn.weights).sd
    assert unknown == pytest.approx(np.sqrt(rest**2 + (model.discrepancy * slopes) ** 2))
    assert (rest > 0).all()
    assert (slopes > 0).all()


@pytest.mark.parametrize("num_failed", [0, 5, 40, 60])
def test_what_failed_says_nothing_of_what_images_show_by_chance(num_failed: int) -> None:
    """However many failed, scores are predicted between 0 and 1, and those of the others stand."""
    terms, points = list_terms(SPACE, table_of(np.ones(len(LAYERS)))), draw(60, 0)
    failed = np.arange(60) < num_failed
    scores, errors = np.where(failed, FAILED[0], truth(points)), np.where(failed, FAILED[1], ERROR)
    model = fit_surrogate(terms, points, scores, errors)
    values, unknown = model.predict_with_sd(draw(200, 5), model.draw(16, np.random.default_rng(0)))
    assert (values > -0.15).all()
    assert (values < 1.15).all()
    assert (unknown < 0.15).all()
    assert (model.smoothed[failed] == 0).all()
    assert np.abs((model.smoothed - scores)[~failed]).max(initial=0.0) < 4 * ERROR


def test_what_no_sum_of_terms_says_is_carried_over_to_neighbours() -> None:
    """Networks with the same width in two layers far apart are better than the table can say."""

    def score(points: Int64Array) -> Float64Array:
        scores: Float64Array = truth(points) + 0.03 * (points[:, 0] == points[:, 14])
        return scores

    terms, points = list_terms(SPACE, table_of(np.ones(len(LAYERS)))), draw(200, 0)
    model = fit_surrogate(terms, points, score(points), np.full(200, 0.02))
    near = points.copy()
    near[np.arange(200), np.random.default_rng(2).integers(1, 14, 200)] = 2
    new = (near != points).any(1)
    with_them = model.predict(near[new], model.mode)[0]
    without = model.predict(near[new], model.mode._replace(weights=0 * model.mode.weights))[0]
    away, plain = (float(np.sqrt(((each - score(near[new])) ** 2).mean())) for each in (with_them, without))
    assert away < 0.75 * plain


def test_one_evaluation_is_enough_to_start_with() -> None:
    terms, point = list_terms(SPACE, table_of(np.ones(len(LAYERS)))), np.full((1, len(SPACE.axes)), 4)
    model = fit_surrogate(terms, point, np.array([0.9]), np.array([0.01]))
    wide, narrow = model.predict(np.array([[4] * 16, [0] * 16]), model.mode)[0]
    assert narrow < wide == pytest.approx(0.9, abs=0.05)

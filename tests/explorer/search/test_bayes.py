"""The Bayesian sampler: the same wherever it goes on, nothing twice, and ahead of NSGA-II on what it half knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from explorer.arrays import Float64Array, Int64Array
from explorer.search import bayes
from explorer.search.axes import ACTIVATION_BITS, WEIGHT_BITS, Axis
from explorer.search.bayes import DRAWS, EVOLVED, ROUND, _Proposer
from explorer.search.evolution import evolve
from explorer.search.improvement import Attained, spread_corners
from explorer.search.loss_terms import list_terms
from explorer.search.problem import STANDARD_ERROR, Estimates, PointCosts, SamplingProblem
from explorer.search.samplers import make_sampler
from explorer.search.sensitivity import Sensitivity
from explorer.search.space import SearchSpace
from explorer.search.surrogate import FAILED, Functions, Surrogate, fit_surrogate
from explorer.search.tried import Tried

LAYERS = tuple("abcdefgh")
WIDTHS = (2, 3, 4, 6, 8)
SPACE = SearchSpace(
    layers=LAYERS,
    axes=tuple(Axis(knob=knob, of=layer, values=WIDTHS) for layer in LAYERS for knob in (WEIGHT_BITS, ACTIVATION_BITS)),
)
NAMES = [axis.name for axis in SPACE.axes]
LAG = 4
SEEDS = [np.full(16, index) for index in (4, 3, 2, 1)]
BITS = np.array(WIDTHS, dtype=np.float64)
SIZES = np.linspace(1, 3, 8)
PREDICT = Surrogate.predict
Tell = Callable[[Int64Array], tuple[list[float], float | None]]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def costs_of(points: Int64Array) -> Float64Array:
    """Energy, products of both widths, and bytes."""
    weights, inputs = BITS[points[:, ::2]], BITS[points[:, 1::2]]
    return np.column_stack(((weights * inputs) @ SIZES, weights @ SIZES[::-1]))


def losses_of(points: Int64Array, seed: int) -> Float64Array:
    """Losses of some layers several times those of others, and errors of neighbours that add up."""
    factors = np.exp(np.random.default_rng(seed).standard_normal((8, 2)))
    parts = (factors * 4.0 ** -BITS[points].reshape(len(points), 8, 2)).sum(2)
    losses: Float64Array = parts.sum(1) + 0.5 * np.sqrt(parts[:, 1:] * parts[:, :-1]).sum(1)
    return losses


def score_of(point: Int64Array) -> float:
    return float(0.1 + 0.85 / (1.0 + 4.0 * losses_of(point[None], 1)[0]))


def evaluate(point: Int64Array) -> tuple[list[float], float | None]:
    return [score_of(point), *costs_of(point[None])[0]], 0.01


def problem_of(seed: int, most_bytes: float = np.inf) -> SamplingProblem:
    table = Sensitivity(
        weights={
            layer: {choice: 4.0**-choice.weight_bits for choice in SPACE.weight_choices(layer)} for layer in LAYERS
        },
        activations={layer: {bits: 4.0**-bits for bits in WIDTHS} for layer in LAYERS},
        filters={},
    )

    def price_points(points: Int64Array) -> PointCosts:
        costs = costs_of(points)
        return PointCosts(costs, costs[:, 1] <= most_bytes)

    estimates = Estimates(price_points=price_points, list_losses=lambda: table)
    return SamplingProblem(space=SPACE, seed=seed, population=8, score=0, estimates=estimates)


def run(
    name: str,
    trials: int,
    problem: SamplingProblem | None = None,
    tell: Tell = evaluate,
    known: Sequence[Int64Array] = SEEDS,
) -> list[Int64Array]:
    """Points of a search in which as many as LAG are pending, that starts from those known already."""
    problem = problem or problem_of(0)
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"])
    pending: list[optuna.Trial] = []
    points: list[Int64Array] = []
    for number in range(trials):
        if len(pending) == LAG:
            first = pending.pop(0)
            values, error = tell(points[first.number])
            if error is not None:
                first.set_user_attr(STANDARD_ERROR, error)
            study.tell(first, values)
        if number < len(known):
            study.enqueue_trial(dict(zip(NAMES, known[number].tolist(), strict=True)))
        study.sampler = make_sampler(name, problem, number)
        trial = study.ask()
        points.append(np.array([trial.suggest_int(axis.name, 0, len(axis.values) - 1) for axis in SPACE.axes]))
        pending.append(trial)
    assert all(trial.state in (TrialState.COMPLETE, TrialState.RUNNING) for trial in study.trials)
    return points


def hypervolume(points: Sequence[Int64Array]) -> float:
    """Of the true scores above .5, within the costs of 8 bits."""
    high = costs_of(np.full((1, 16), 4))[0]
    front = Attained(spread_corners(np.zeros(2), high, 4000), 0.5, 1)
    front.add(costs_of(np.array(points)), np.array([[score_of(point) for point in points]]))
    return float(front.best.mean() - 0.5)


def test_it_goes_on_after_any_trial_as_if_nothing_had_happened() -> None:
    whole = run("bayes", 4 * ROUND)
    assert all((points == again).all() for points, again in zip(whole, run("bayes", 4 * ROUND), strict=True))
    for number in (LAG, ROUND + 3, 2 * ROUND, 3 * ROUND + 5):
        again = run("bayes", 4 * ROUND, known=whole[:number])
        assert [point.tolist() for point in again] == [point.tolist() for point in whole]


def test_nothing_is_proposed_twice() -> None:
    points = run("bayes", 60)
    assert len({point.tobytes() for point in points}) == 60


def test_each_fit_draws_its_own_numbers_where_it_leaves_trials_out(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = []

    def record(*given: Any) -> list[Int64Array]:
        streams.append(given[-1].bit_generator.state["state"]["inc"])
        return evolve(*given)

    monkeypatch.setattr(bayes, "FITTED", 12)
    monkeypatch.setattr(bayes, "evolve", record)
    run("bayes", 5 * ROUND)
    assert len(streams) == len(set(streams)) >= 5


def test_what_is_over_budget_is_not_proposed() -> None:
    most = 60.0
    points = run("bayes", 40, problem_of(0, most))
    assert (costs_of(np.array(points[ROUND + LAG :]))[:, 1] <= most).all()


def test_what_cannot_be_computed_is_left_after_a_few_tries() -> None:
    """Whatever has 2-bit weights in the first layer fails: the table does not know."""

    def tell(point: Int64Array) -> tuple[list[float], float | None]:
        return ([0.0, np.inf, np.inf], None) if point[0] == 0 else evaluate(point)

    points = run("bayes", 80, tell=tell)
    failed = [point[0] == 0 for point in points]
    assert sum(failed[40:]) <= sum(failed[:40]) + 2
    assert sum(failed[60:]) <= 4


def test_what_failed_is_told_from_scores_of_0(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[tuple[Float64Array, Float64Array]] = []

    def record(*given: Any) -> Surrogate:
        fitted.append(given[2:])
        return fit_surrogate(*given)

    def tell(point: Int64Array) -> tuple[list[float], float | None]:
        return ([0.0, np.inf, np.inf], None) if point[0] < 2 else evaluate(point)

    monkeypatch.setattr(bayes, "fit_surrogate", record)
    points = run("bayes", 2 * ROUND + LAG, tell=tell)
    scores, errors = fitted[-1]
    failed = np.array([point[0] < 2 for point in points[: len(scores)]])
    assert 2 <= failed.sum() < len(scores)
    assert np.isinf(errors[failed]).all()
    assert (scores[failed] == FAILED[0]).all()
    assert (errors[~failed] == 0.01).all()


def proposer(monkeypatch: pytest.MonkeyPatch) -> tuple[_Proposer, Tried, list[Functions]]:
    """After 40 trials whose scores are off the model by more than their errors, and what its populations were for."""
    problem, random = problem_of(0), np.random.default_rng(3)
    estimates = problem.estimates
    assert estimates is not None
    tried = Tried(SPACE, estimates.price_points)
    points = list(random.integers(0, len(WIDTHS), (40, len(NAMES))))
    tried.add(points, [(score_of(point) + 0.02 * random.standard_normal(), 0.004) for point in points])
    predicted: list[Functions] = []

    def predict(self: Surrogate, at: Int64Array, by: Functions) -> Float64Array:
        predicted.append(by)
        return PREDICT(self, at, by)

    monkeypatch.setattr(Surrogate, "predict", predict)
    return _Proposer(problem, estimates, list_terms(SPACE, estimates.list_losses()), tried), tried, predicted


def test_the_front_is_that_of_what_was_smoothed(monkeypatch: pytest.MonkeyPatch) -> None:
    found, tried, _ = proposer(monkeypatch)
    front = Attained(found._front.corners, found._least, DRAWS)
    front.add(tried.take_best(40).costs, np.broadcast_to(found._model.smoothed, (DRAWS, 40)))
    assert (found._front.best == front.best).all()
    assert np.abs(found._model.smoothed - tried.take_best(40).scores).max() > 1e-4


def test_gains_are_those_of_scores_with_doubt_and_pending_ones_are_taken_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, _, _ = proposer(monkeypatch)
    plain, unknown = found._model.predict_with_sd(found._pool, found._draws)
    spread = (found._scores - plain) / unknown
    assert 0.9 < spread.std() < 1.1
    assert (found._gains == found._front.measure_gains(found._costs, found._scores)).all()
    for place, point in enumerate(found._pool):
        assert (found._known[point.tobytes()][1] == plain[:, place]).all()
    other = next(
        point for point in np.random.default_rng(4).integers(0, 5, (9, 16)) if point.tobytes() not in found._known
    )
    found.pick([other])
    assert found._known[other.tobytes()][1] == pytest.approx(PREDICT(found._model, other[None], found._draws)[:, 0])


def test_each_population_evolves_on_a_function_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _, predicted = proposer(monkeypatch)
    used = {by.parameters.tobytes() for by in predicted}
    drawn = [found._draws.only(place).parameters.tobytes() for place in range(EVOLVED - 1)]
    assert used == {found._model.mode.parameters.tobytes(), *drawn}
    assert len(used) == EVOLVED


def test_before_two_scores_are_known_points_are_drawn() -> None:
    points = run("bayes", ROUND, known=())
    assert len({point.tobytes() for point in points}) == ROUND


@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_ahead_of_nsga2_at_a_third_of_the_trials(seed: int) -> None:
    ours, theirs = (run(name, trials, problem_of(seed)) for name, trials in (("bayes", 50), ("nsga2", 150)))
    assert hypervolume(ours) > hypervolume(theirs) > hypervolume(SEEDS)


def test_it_needs_estimates() -> None:
    with pytest.raises(ValueError, match="costs of points and the table"):
        make_sampler("bayes", SamplingProblem(space=SPACE, seed=0, population=8, score=0), 0)

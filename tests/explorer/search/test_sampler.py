"""NSGA-II by numbers: each trial of a generation is selected from, also those that finish late."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import optuna
import pytest

from explorer.search.sampler import NumberedNSGAIISampler

POPULATION = 6
AXES = 4


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def run(sampler: optuna.samplers.BaseSampler, trials: int, lag: int) -> optuna.Study:
    """Two objectives in conflict, on which points with equal indices lie on the front; finished in order."""
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    asked: list[tuple[optuna.Trial, list[int]]] = []
    for number in range(trials):
        if number >= lag:
            trial, point = asked[number - lag]
            spread = max(point) - min(point)
            study.tell(trial, (sum(point) + spread, -sum(point) + spread))
        trial = study.ask()
        asked.append((trial, [trial.suggest_int(f"x{axis}", 0, 6) for axis in range(AXES)]))
    return study


def sampler(seed: int = 1) -> NumberedNSGAIISampler:
    return NumberedNSGAIISampler({}, population_size=POPULATION, seed=seed)


def test_generations_are_those_of_optuna_where_one_is_evaluated_at_a_time() -> None:
    own = sampler()
    study = run(own, 5 * POPULATION, lag=1)
    optunas = optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=1)
    other = run(optunas, 5 * POPULATION, lag=1)
    for generation in range(1, 5):
        assert [t.number for t in own.get_population(study, generation)] == [
            t.number for t in optunas.get_population(other, generation)
        ][: POPULATION - (generation == 4)]


@pytest.mark.parametrize("lag", [1, 4, 9])
def test_every_finished_trial_is_in_one_generation(lag: int) -> None:
    study = run(sampler(), 40, lag)
    own = study.sampler
    assert isinstance(own, NumberedNSGAIISampler)
    generations = [[t.number for t in own.get_population(study, each)] for each in range((40 - lag) // POPULATION)]
    assert [number for numbers in generations for number in numbers] == list(range(POPULATION * len(generations)))
    for before, after in pairwise(range(1, len(generations) + 1)):
        parents = {t.number for t in own.get_parent_population(study, after)}
        pool = {t.number for t in own.get_parent_population(study, before)} | set(generations[before])
        assert parents <= pool
        assert len(parents) == POPULATION


def test_optuna_would_never_select_from_those_that_finish_late() -> None:
    """Why generations go by numbers: should this fail, Optuna has changed, and the class may go."""
    own = optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=1)
    study = run(own, 40, lag=4)
    assert max(len(own.get_population(study, generation)) for generation in range(3)) > POPULATION


def test_parents_are_selected_again_as_they_were() -> None:
    """Without what Optuna has kept of them, as after an interruption, and for more generations than Python recurses."""
    study = run(sampler(), 1 + 8 * POPULATION, lag=1)
    again = optuna.create_study(directions=["minimize", "minimize"])
    again.add_trials(study.get_trials(states=[optuna.trial.TrialState.COMPLETE]))
    own, new = study.sampler, sampler()
    assert isinstance(own, NumberedNSGAIISampler)
    found = [[t.params for t in each.get_parent_population(of, 8)] for each, of in ((own, study), (new, again))]
    assert found[0] == found[1]
    assert len(found[0]) == POPULATION

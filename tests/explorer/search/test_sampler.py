"""Samplers: the same for a seed, and seeds that really enter NSGA-II's population."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import optuna
import pytest
from optuna.samplers import NSGAIISampler
from optuna.trial import FrozenTrial

from explorer.search.axes import ACTIVATION_BITS, WEIGHT_BITS, Axis
from explorer.search.problem import Estimates, PointCosts, SamplingProblem
from explorer.search.sampler import ResumableNSGAIISampler, ask
from explorer.search.samplers import SAMPLERS, make_sampler
from explorer.search.sensitivity import Sensitivity
from explorer.search.space import SearchSpace

SPACE = SearchSpace(
    layers=("a", "b"),
    axes=tuple(
        Axis(knob=knob, of=layer, values=tuple(range(2, 9)))
        for layer in ("a", "b")
        for knob in (WEIGHT_BITS, ACTIVATION_BITS)
    ),
)
SEEDS: list[Mapping[str, int]] = [{axis.name: value for axis in SPACE.axes} for value in (0, 3, 6)]
POPULATION = 6


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def values_of(point: Mapping[str, int]) -> tuple[float, float]:
    """Two objectives in conflict, on which the seeds lie on the front."""
    spread = max(point.values()) - min(point.values())
    return float(sum(point.values()) + spread), float(-sum(point.values()) + spread)


def problem_of(seed: int) -> SamplingProblem:
    """Two costs of which the first stands for the score, and a table by which narrow widths lose more."""
    table = Sensitivity(
        weights={
            layer: {choice: 4.0**-choice.weight_bits for choice in SPACE.weight_choices(layer)}
            for layer in SPACE.layers
        },
        activations={layer: {bits: 4.0**-bits for bits in range(2, 9)} for layer in SPACE.layers},
        filters={},
    )
    estimates = Estimates(
        price_points=lambda points: PointCosts(points.sum(1, keepdims=True).astype(float), points.sum(1) >= 0),
        list_losses=lambda: table,
    )
    return SamplingProblem(space=SPACE, seed=seed, population=POPULATION, score=0, estimates=estimates)


def new_study(name: str, seed: int = 1) -> optuna.Study:
    return optuna.create_study(directions=["minimize", "minimize"], sampler=make_sampler(name, problem_of(seed), 0))


def generation_of(study: optuna.Study, trial: FrozenTrial) -> int | None:
    key = ResumableNSGAIISampler._get_generation_key()
    return study.trials[trial.number].system_attrs.get(key)


def run(study: optuna.Study, trials: int) -> list[dict[str, int]]:
    points = []
    for number in range(trials):
        trial, point = ask(study, SPACE, SEEDS[number] if number < len(SEEDS) else None)
        study.tell(trial, values_of(point))
        points.append(point)
    return points


def test_seeds_are_of_generation_0_and_become_parents() -> None:
    study = new_study("nsga2")
    points = run(study, 2 * POPULATION)
    assert points[: len(SEEDS)] == SEEDS
    assert [generation_of(study, t) for t in study.trials] == [0] * POPULATION + [1] * POPULATION
    sampler = study.sampler
    assert isinstance(sampler, NSGAIISampler)
    parents = sampler.get_parent_population(study, 1)
    assert len(parents) == POPULATION
    assert {0, 1, 2} <= {trial.number for trial in parents}


def test_without_asking_for_relative_parameters_a_seed_would_have_no_generation() -> None:
    """Why `ask` reads `relative_params`: should this fail, Optuna is mended and the line can go."""
    study = new_study("nsga2")
    study.enqueue_trial(dict(SEEDS[0]))
    trial = study.ask()
    for axis in SPACE.axes:
        trial.suggest_int(axis.name, 0, len(axis.values) - 1)
    study.tell(trial, (1.0, 1.0))
    assert generation_of(study, study.trials[0]) is None
    assert study.trials[0].params == SEEDS[0]


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_a_sampler_repeats_itself_for_a_seed_and_stays_in_the_space(name: str) -> None:
    first, second = run(new_study(name), 14), run(new_study(name), 14)
    assert first == second
    assert all(0 <= index < 7 for point in first for index in point.values())
    assert all(set(point) == {axis.name for axis in SPACE.axes} for point in first)
    assert run(new_study(name, 2), 14)[3:] != first[3:]

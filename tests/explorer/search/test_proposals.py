"""Proposals follow from the points before and the results told, with every sampler, however they came about."""

from __future__ import annotations

from functools import partial

import pytest
from optuna.study import StudyDirection

from explorer.search.axes import ACTIVATION_BITS, WEIGHT_BITS, Axis
from explorer.search.problem import Estimates, PointCosts, SamplingProblem
from explorer.search.proposals import Point, Proposals
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
SEEDS: list[Point] = [(value,) * 4 for value in (0, 3, 6)]
POPULATION, TRIALS = 6, 30


def values_of(point: Point) -> tuple[float, float]:
    """Two objectives in conflict, on which the seeds lie on the front."""
    spread = max(point) - min(point)
    return float(sum(point) + spread), float(-sum(point) + spread)


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


def empty(name: str, seed: int = 1) -> Proposals:
    make = partial(make_sampler, name, problem_of(seed))
    return Proposals(SPACE, [StudyDirection.MINIMIZE, StudyDirection.MINIMIZE], make)


def tell(proposals: Proposals, points: list[Point], upto: int) -> None:
    for number in range(proposals.num_told, upto):
        proposals.tell(values_of(points[number]), {"energy_uj": float(sum(points[number]) - 20)}, 0.01)


def run(proposals: Proposals, points: list[Point], trials: int, lag: int) -> list[Point]:
    """Go on from the points that stand there already."""
    for number in range(len(points), trials):
        tell(proposals, points, number - lag + 1)
        points.append(proposals.add(SEEDS[number]) if number < len(SEEDS) else proposals.ask()[0])
    return points


@pytest.mark.parametrize("lag", [1, 7])
@pytest.mark.parametrize("name", list(SAMPLERS))
def test_what_is_proposed_follows_from_the_points_before(name: str, lag: int) -> None:
    """As though interrupted before each trial, when the points of the others are all that is left."""
    whole = run(empty(name), [], TRIALS, lag)
    assert whole[: len(SEEDS)] == SEEDS
    for number in range(len(SEEDS), TRIALS, 4):
        proposals = empty(name)
        points = [proposals.add(point) for point in whole[:number]]
        assert len(proposals) == number
        assert run(proposals, points, TRIALS, lag) == whole


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_the_seed_and_the_results_known_decide(name: str) -> None:
    whole = run(empty(name), [], TRIALS, 4)
    assert all(0 <= index < 7 for point in whole for index in point)
    assert run(empty(name, seed=2), [], TRIALS, 4)[3:] != whole[3:]
    if name != "random":
        assert run(empty(name), [], TRIALS, 1) != whole


def test_seeds_become_parents() -> None:
    proposals = empty("nsga2")
    points = run(proposals, [], 2 * POPULATION, 1)
    sampler = make_sampler("nsga2", problem_of(1), 0)
    tell(proposals, points, 2 * POPULATION)
    parents = sampler.get_parent_population(proposals._study, 1)  # type: ignore[attr-defined]
    assert {0, 1, 2} <= {trial.number for trial in parents}


def test_a_sampler_finds_what_is_pending() -> None:
    proposals = empty("random")
    points = run(proposals, [], 10, 4)
    trials = proposals._study.trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 6 + ["RUNNING"] * 4
    assert [tuple(trial.params.values()) for trial in trials] == points
    assert [trial.constraints for trial in trials[:6]] == [
        {"energy_uj": float(sum(point) - 20)} for point in points[:6]
    ]

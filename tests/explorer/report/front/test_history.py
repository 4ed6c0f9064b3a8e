"""The hypervolume of a front as it grows, beside an exact one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from explorer.evaluate.mean_score import MeanScore
from explorer.report.front.history import measure_history
from explorer.study.record import UNIFORM, Outcome


def _exact(outcome: Outcome, count: int) -> float:
    """The area under the best score within a cost, of the first so many evaluations; one cost, reference score 0."""
    high = outcome.baseline(UNIFORM).cost.energy_uj
    assert high is not None
    points = sorted(
        (item.cost.energy_uj or 0.0, item.score.value)
        for item in outcome.evaluations[:count]
        if item.feasible and item.score is not None
    )
    area, best = 0.0, 0.0
    for cost, score in points:
        area += max(0.0, score - best) * max(0.0, high - cost)
        best = max(best, score)
    return area / high


def test_it_is_the_volume_that_the_front_dominates(outcome: Outcome) -> None:
    one = replace(outcome, objectives=("accuracy", "energy"))
    found = measure_history(one)
    assert found is not None
    assert len(found.shares) == len(outcome.evaluations)
    for count in (1, 5, 20, 60):
        assert found.shares[count - 1] == pytest.approx(_exact(one, count), abs=2e-3)
    assert np.diff(found.shares).min() >= 0.0
    assert found.costs == (outcome.baseline(UNIFORM).cost.energy_uj,)


def test_a_least_score_is_part_of_the_reference(outcome: Outcome) -> None:
    limited = replace(outcome, study={**outcome.study, "budgets": {"accuracy": 0.9}})
    found, plain = measure_history(limited), measure_history(outcome)
    assert found is not None
    assert plain is not None
    assert (found.least, plain.least) == (0.9, 0.0)
    assert found.shares[-1] < plain.shares[-1]


def test_what_exceeds_a_budget_adds_nothing(outcome: Outcome) -> None:
    best = replace(outcome.evaluations[0], score=MeanScore(value=1.0, num_images=400), violations=(("energy_uj", 0.1),))
    found = measure_history(replace(outcome, evaluations=(best,)))
    assert found is not None
    assert found.shares == (0.0,)


def test_without_a_reference_there_is_none(outcome: Outcome) -> None:
    assert measure_history(replace(outcome, baselines=())) is None
    assert measure_history(replace(outcome, evaluations=())) is None

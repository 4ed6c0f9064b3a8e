"""What tuning would make of others follows from what it made of a few, and the front may be taken by it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from explorer.errors import SearchError
from explorer.evaluate.mean_score import MeanScore
from explorer.settings import BudgetSettings
from explorer.study.after_tuning import (
    PRIOR_MEAN,
    PRIOR_SD,
    RESIDUAL_SD,
    Reference,
    choose_beacons,
    describe_beacons,
    find_front_after_tuning,
    fit_gains,
)
from explorer.study.record import Beacon, Evaluation
from tests.support.outcomes import make_outcome

OUTCOME = make_outcome()
REFERENCE = Reference.of(OUTCOME.baselines)
SCORED = [item for item in OUTCOME.evaluations if item.score is not None]
NO_LIMITS = BudgetSettings()


def log_odds(share: float) -> float:
    return math.log(share / (1.0 - share))


def scored(value: float) -> MeanScore:
    return MeanScore(value=value, num_images=400)


def like_float(score: float) -> Evaluation:
    """An evaluation that costs what the float network does."""
    cost = replace(SCORED[0].cost, macs=REFERENCE.macs, weight_bytes=REFERENCE.weight_bytes)
    return replace(SCORED[0], cost=cost, score=scored(score))


def test_the_float_network_has_nothing_to_gain() -> None:
    (found,) = fit_gains((), (), REFERENCE).predict([like_float(REFERENCE.score.value)])
    value = REFERENCE.score.value
    assert found.value == pytest.approx(value)
    assert found.sampling_error == pytest.approx(RESIDUAL_SD * value * (1.0 - value))


def test_without_beacons_the_prior_has_the_say() -> None:
    (found,) = fit_gains((), (), REFERENCE).predict([like_float(0.6)])
    left = PRIOR_MEAN[0] * (log_odds(REFERENCE.score.value) - log_odds(0.6))
    assert log_odds(found.value) == pytest.approx(log_odds(REFERENCE.score.value) - left)


def test_the_posterior_is_that_of_least_squares_with_the_prior_as_data() -> None:
    tuned, after = SCORED[20:25], [scored(0.9 + 0.01 * n) for n in range(5)]
    features = np.array(
        [
            (
                log_odds(REFERENCE.score.value) - log_odds(item.score.value if item.score else 0.0),
                math.log(REFERENCE.macs / item.cost.macs),
                math.log(REFERENCE.weight_bytes / item.cost.weight_bytes),
            )
            for item in tuned
        ]
    )
    losses = np.array([log_odds(REFERENCE.score.value) - log_odds(each.value) for each in after])
    rows = np.concatenate([features / RESIDUAL_SD, np.diag(1 / PRIOR_SD)])
    found = np.linalg.lstsq(rows, np.concatenate([losses / RESIDUAL_SD, PRIOR_MEAN / PRIOR_SD]), rcond=None)[0]
    assert fit_gains(tuned, after, REFERENCE).mean == pytest.approx(found)


def test_what_is_known_of_others_makes_a_prediction_surer_and_a_sampled_score_less_sure() -> None:
    asked = like_float(0.6)
    (before,) = fit_gains((), (), REFERENCE).predict([asked])
    gains = fit_gains([asked] * 3, [scored(0.9)] * 3, REFERENCE)
    (after,) = gains.predict([asked])
    assert abs(after.value - 0.9) < abs(before.value - 0.9)
    assert after.sampling_error < before.sampling_error
    assert asked.score is not None
    sampled = replace(asked.score, num_images=100, population=400, sampling_error=0.05)
    assert gains.predict([replace(asked, score=sampled)])[0].sampling_error > after.sampling_error


def test_beacons_are_chosen_one_after_the_other_and_none_twice() -> None:
    def choose(count: int, *known: Evaluation) -> list[str]:
        found = choose_beacons(
            OUTCOME.evaluations, {item.candidate for item in known}, count, REFERENCE, NO_LIMITS, OUTCOME.objectives
        )
        return [candidate.digest() for candidate in found]

    six = choose(6)
    assert len(set(six)) == 6
    assert choose(3) == six[:3]
    items = {item.candidate.digest(): item for item in SCORED}
    assert choose(6, *(items[own] for own in six[:2])) == six[2:]
    assert choose(2, *(items[own] for own in six[:3])) == []


def test_the_front_is_that_of_scores_after_tuning() -> None:
    on_front = {point.evaluation.candidate for point in OUTCOME.front}
    beaten = next(item for item in SCORED if item.candidate not in on_front and item.feasible)
    front = find_front_after_tuning(replace(OUTCOME, beacons=(Beacon(number=beaten.number, score=scored(1.0)),)))
    assert [point.name for point in front] == [f"t{place:02d}" for place in range(1, len(front) + 1)]
    (measured,) = (point for point in front if not point.predicted)
    assert measured.evaluation.candidate == beaten.candidate
    assert measured.evaluation.score == scored(1.0)
    assert measured.untuned == beaten.score
    assert all(point.evaluation.feasible for point in front)
    for point in front:
        assert point.evaluation.score is not None
        assert point.untuned is not None
        assert point.held_out.num_images == 0


def test_without_a_beacon_there_is_no_front_after_tuning() -> None:
    with pytest.raises(SearchError, match=r"no candidate of this run was tuned; set search\.beacons = 6"):
        find_front_after_tuning(OUTCOME)
    asked = replace(OUTCOME, study={**OUTCOME.study, "search": {"beacons": 6}})
    with pytest.raises(SearchError, match="none was expected to keep the budgets then; give it more --trials"):
        find_front_after_tuning(asked)


def test_how_well_beacons_are_predicted_is_told() -> None:
    tuned = SCORED[20:24]
    gains = fit_gains((), (), REFERENCE)
    beacons = [Beacon(number=item.number, score=score) for item, score in zip(tuned, gains.predict(tuned), strict=True)]
    said = describe_beacons(OUTCOME.evaluations, beacons, REFERENCE)
    assert said.startswith("tuned for an epoch: 4 of 60; each predicted from the others: Kendall's tau 1.00, ")
    assert said.endswith(" points off")
    same = [replace(beacon, score=scored(0.9)) for beacon in beacons]
    assert "Kendall's tau" in describe_beacons(OUTCOME.evaluations, [*same[:3], beacons[3]], REFERENCE)
    assert ": all alike, " in describe_beacons(OUTCOME.evaluations, same, REFERENCE)
    assert describe_beacons(OUTCOME.evaluations, beacons[:2], REFERENCE) == "tuned for an epoch: 2 of 60"

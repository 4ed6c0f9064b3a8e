"""What is recommended: the cheapest network that loses next to nothing, tuned or not."""

from dataclasses import replace

import pytest

from explorer.evaluate.mean_score import MeanScore
from explorer.study.recommend import Recommendation, compute_loss, recommend
from explorer.study.record import FLOAT, Baseline, FrontPoint, Outcome, TunedScores
from tests.explorer.study.test_front import cost, points


def outcome(*members: FrontPoint, whole: float = 0.9, objectives: tuple[str, ...] = ("accuracy", "energy")) -> Outcome:
    score = MeanScore(value=whole, num_images=10_000)
    return Outcome(
        study={},
        device="bitfusion",
        device_title="Bit Fusion",
        objectives=objectives,
        baselines=(Baseline(name=FLOAT, cost=cost(None), search=score, held_out=score),),
        front=members,
        evaluations=(),
        skipped=(),
        provenance={},
    )


def scored(value: float, images: int = 10_000) -> MeanScore:
    return MeanScore(value=value, num_images=images)


def members(*values: tuple[float, float, int], images: int = 10_000) -> tuple[FrontPoint, ...]:
    """As of `points`, scored on so many images."""
    return tuple(
        replace(point, evaluation=replace(point.evaluation, score=scored(value[0], images)))
        for point, value in zip(points(*values), values, strict=True)
    )


def tuned(point: FrontPoint, value: float, energy: float = 1.0) -> FrontPoint:
    scores = TunedScores(epochs=2, search=scored(value), held_out=scored(value), cost=cost(energy))
    return replace(point, tuned=scores)


def best(found: Outcome) -> Recommendation:
    recommended = recommend(found)
    assert recommended is not None
    return recommended


@pytest.mark.parametrize(
    ("accuracies", "images", "expected", "close"),
    [
        ((0.80, 0.891, 0.90), 10_000, "p02", True),  # the knee that lost 10 points is not it
        ((0.80, 0.885, 0.90), 10_000, "p03", True),  # 1.5 points are more than one and a standard error of 0.3
        ((0.80, 0.888, 0.90), 10_000, "p02", True),  # 1.2 points are not
        ((0.80, 0.870, 0.88), 100, "p02", True),  # of 100 images a standard error is 3.4 points
        ((0.60, 0.70, 0.80), 10_000, "p03", False),  # nothing is close: the best
        ((0.905, 0.91, 0.92), 10_000, "p01", True),  # better than the float network
    ],
)
def test_the_cheapest_that_is_close_is_recommended(
    accuracies: tuple[float, ...], images: int, expected: str, close: bool
) -> None:
    values = [(accuracy, float(energy), 10) for energy, accuracy in enumerate(accuracies, start=1)]
    found = best(outcome(*members(*values, images=images)))
    assert (found.point.name, found.is_close, found.tuned) == (expected, close, False)
    assert found.loss == pytest.approx(0.9 - accuracies[int(expected[1:]) - 1])
    assert compute_loss(outcome(), found.point) == found.loss


def test_what_fine_tuning_made_counts() -> None:
    first, second, third = members((0.80, 1.0, 10), (0.87, 2.0, 20), (0.90, 3.0, 30))
    assert best(outcome(first, second, third)).name == "p03"
    found = best(outcome(first, tuned(second, 0.895, 2.0), third))
    assert (found.name, found.point.name, found.tuned) == ("p02, fine-tuned", "p02", True)
    assert best(outcome(tuned(first, 0.86), second, third)).name == "p03"
    assert best(outcome(tuned(first, 0.86), second)).name == "p02"  # nothing is close: the best of both kinds
    # Where it costs the same, fine-tuned or not, the better one; where the tuned one costs more, the plain one.
    assert best(outcome(first, second, tuned(third, 0.905, 3.0))).name == "p03, fine-tuned"
    assert best(outcome(first, second, tuned(third, 0.905, 3.1))).name == "p03"


def test_the_next_cost_decides_where_the_first_is_equal() -> None:
    values = members((0.9, 2.0, 30), (0.9, 2.0, 20))
    assert best(outcome(*values, objectives=("accuracy", "energy", "weight_memory"))).name == "p02"


def test_nothing_is_recommended_of_an_empty_front() -> None:
    assert recommend(outcome()) is None

"""Mean scores and their standard errors."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.evaluate.mean_score import MeanScore

ACCURACIES = st.integers(1, 1000).flatmap(
    lambda n: st.integers(0, n).map(lambda right: MeanScore(value=right / n, num_images=n))
)


@pytest.mark.parametrize(
    ("right", "images", "expected"),
    [
        (50, 100, math.sqrt(0.25 / 104)),  # 52 of 104
        (96, 96, math.sqrt(0.98 * 0.02 / 100)),  # 98 of 100
        (0, 96, math.sqrt(0.02 * 0.98 / 100)),  # 2 of 100
        (1, 1, math.sqrt(0.6 * 0.4 / 5)),  # 3 of 5
        (0, 1, math.sqrt(0.4 * 0.6 / 5)),  # 2 of 5
    ],
)
def test_standard_errors_by_hand(right: int, images: int, expected: float) -> None:
    assert MeanScore(value=right / images, num_images=images).standard_error == pytest.approx(expected, rel=1e-12)


@given(ACCURACIES)
def test_a_standard_error_is_never_zero_and_falls_with_the_images(accuracy: MeanScore) -> None:
    more = MeanScore(value=accuracy.value, num_images=10 * accuracy.num_images + 10)
    assert 0 < more.standard_error < accuracy.standard_error <= 0.5


@given(st.lists(st.booleans(), min_size=1, max_size=50))
def test_right_and_wrong_images_are_a_proportion(right: list[bool]) -> None:
    found = MeanScore.of(np.array(right, dtype=np.float64))
    assert found == MeanScore(value=sum(right) / len(right), num_images=len(right))


@given(st.lists(st.floats(0.01, 0.99), min_size=2, max_size=50))
def test_other_scores_have_the_standard_error_of_their_mean(scores: list[float]) -> None:
    found = MeanScore.of(np.array(scores))
    assert found.value == pytest.approx(statistics.fmean(scores))
    assert found.standard_error == pytest.approx(statistics.stdev(scores) / math.sqrt(len(scores)), abs=1e-12)


def test_of_one_image_the_error_is_as_large_as_it_can_be() -> None:
    assert MeanScore.of(np.array([0.3])).standard_error == 0.5
    assert MeanScore.of(np.zeros(0)) == MeanScore(value=0.0, num_images=0)


@pytest.mark.parametrize("wrong", [{"value": 1.5}, {"value": math.nan}, {"deviation": -0.1}, {"deviation": math.inf}])
def test_what_no_scores_can_have_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        MeanScore(**{"value": 0.5, "num_images": 3, **wrong})  # type: ignore[arg-type]


def test_it_shows_itself_in_per_cent_with_its_error() -> None:
    assert repr(MeanScore(value=0.5, num_images=96)) == "50.00% ±5.00% of 96 images"
    assert repr(MeanScore(value=0.9, num_images=2500, deviation=0.1)) == "90.00% ±0.20% of 2,500 images"

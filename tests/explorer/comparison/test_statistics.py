"""Means, standard errors over images and seeds, paired differences, and who wins."""

import numpy as np
import pytest

from explorer.comparison.points import ComparisonCell, ScoredCell, Size, pack
from explorer.comparison.statistics import MeanEstimate, compute_differences, estimate_mean, group_cells

SIZE = Size(parameters=10, weight_bytes=40, coded_bytes=None, macs=100)


def point(criterion: str, seed: int, right: list[int], weight_bytes: int = 40, level: float = 0.5) -> ScoredCell:
    return ScoredCell(
        cell=ComparisonCell(criterion=criterion, scope="layer", level=level, state="uncorrected", seed=seed),
        selection=f"{criterion}{seed}",
        size=Size(parameters=10, weight_bytes=weight_bytes, coded_bytes=None, macs=100),
        num_images=len(right),
        right=pack(np.array(right, dtype=np.bool_)),
    )


def test_an_estimate_by_hand() -> None:
    found = estimate_mean(np.array([[1, 1, 0, 0], [1, 0, 0, 0]], dtype=np.bool_))
    assert found.value == 0.375
    # Means of the images are 1, .5, 0, 0; means of the seeds .5 and .25.
    assert found.over_images == pytest.approx(np.std([1, 0.5, 0, 0], ddof=1) / 2)
    assert found.over_seeds == pytest.approx(np.std([0.5, 0.25], ddof=1) / np.sqrt(2))
    assert found.standard_error == pytest.approx(np.hypot(found.over_images, found.over_seeds))
    assert (found.num_images, found.seeds) == (4, 2)


def test_one_seed_has_no_error_over_seeds() -> None:
    assert estimate_mean(np.ones((1, 3))) == MeanEstimate(
        value=1.0, over_images=0.0, over_seeds=0.0, num_images=3, seeds=1
    )


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (3,)])
def test_no_values_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="seeds x images"):
        estimate_mean(np.zeros(shape))


def test_the_error_covers_the_mean_of_two_way_draws() -> None:
    """Means of draws with chance in images and in seeds lie within two standard errors about 95 % of the time."""
    draws, hits = np.random.default_rng(0), 0
    for _ in range(300):
        logits = draws.normal(0.3, 1, (1, 200)) + draws.normal(0, 0.3, (8, 1)) + draws.normal(0, 0.5, (8, 200))
        found = estimate_mean(logits)
        hits += abs(found.value - 0.3) <= 2 * found.standard_error
    assert 270 <= hits <= 298


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_chance_hardly_ever_decides(seeds: int) -> None:
    """Without any difference at most one in twenty intervals leaves out 0, also with few seeds of wide spread."""
    draws, wrong = np.random.default_rng(0), 0
    for _ in range(400):
        found = estimate_mean(draws.normal(0, 0.3, (1, 400)) + draws.normal(0, 0.03, (seeds, 1)))
        wrong += abs(found.value) > found.half_width
    assert wrong <= 20 + 2 * 4.4  # two standard deviations of 400 draws


def test_the_interval_is_that_of_student() -> None:
    found = estimate_mean(np.array([[0.1], [0.2], [0.3]]))
    assert found.half_width == pytest.approx(4.302653 * 0.1 / np.sqrt(3), rel=1e-5)  # tables of t: 2 degrees, 97.5 %
    assert estimate_mean(np.ones((1, 3))).half_width == 0.0


def test_pairs_cancel_what_both_have_in_common() -> None:
    hard = [0] * 50 + [1] * 50
    better = [*hard[:-10], *([1] * 10)]
    worse = [*hard[:-10], *([0] * 10)]
    (found,) = compute_differences([point("deeplift", 0, better), point("l1", 0, worse)], "deeplift")
    assert found.difference.value == pytest.approx(0.1)
    alone = estimate_mean(np.array([better])).over_images * np.sqrt(2)
    assert found.difference.standard_error < 0.7 * alone
    assert found.verdict == "wins"
    (turned,) = compute_differences([point("deeplift", 0, better), point("l1", 0, worse)], "l1")
    assert (turned.difference.value, turned.verdict) == (-found.difference.value, "loses")


def test_a_tie_within_the_interval() -> None:
    (found,) = compute_differences([point("deeplift", 0, [1, 1, 0, 1]), point("l1", 0, [1, 0, 1, 0])], "deeplift")
    assert found.difference.value == 0.25
    assert found.verdict == "ties"


def test_differences_take_the_seeds_that_both_have() -> None:
    points = [point("deeplift", seed, [1, 0, 1]) for seed in (0, 1)] + [point("l1", 1, [1, 0, 0])]
    (found,) = compute_differences(points, "deeplift")
    assert found.difference.seeds == 1
    assert found.difference.value == pytest.approx(1 / 3)
    assert compute_differences(points[2:], "deeplift") == ()
    assert compute_differences([point("deeplift", 0, [1]), point("l1", 0, [1], level=0.25)], "deeplift") == ()


def test_groups_average_sizes_over_seeds() -> None:
    (found,) = group_cells([point("random", 0, [1, 0], 40), point("random", 1, [1, 1], 60)])
    assert (found.criterion, found.weight_bytes, found.macs) == ("random", 50.0, 100.0)
    assert (found.coded_bytes, found.accuracy.value, found.accuracy.seeds) == (None, 0.75, 2)


def test_a_point_survives_json() -> None:
    right = [1, 0, 0, 1, 1, 1, 0, 1, 1]
    before = point("deeplift", 3, right)
    after = ScoredCell.from_json(before.to_json())
    assert after == before
    assert after.right_images().tolist() == [bool(value) for value in right]

"""Scores of a part of the images: what they estimate, how far off they are, and in which order images come."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch

from explorer.evaluate.image_scores import pack_scores
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.sampling import FIRST_WAVE, SampleOrder, expect_images, find_margins, restore_order

COUNT = 2000


def made_scores(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return margins, the float network's scores and a candidate's, whose logits are noisy (N each)."""
    random = np.random.default_rng(seed)
    margins = np.abs(random.normal(4.0, 2.5, COUNT))
    reference = (random.random(COUNT) < 1.0 - 0.5 * np.exp(-margins)).astype(float)
    changed = np.abs(random.normal(0.0, 1.0, COUNT)) > margins
    return margins, reference, np.where(changed, np.abs(reference - (random.random(COUNT) < 0.7)), reference)


@pytest.mark.parametrize("with_margins", [True, False])
def test_every_beginning_of_the_order_is_an_unbiased_sample_with_its_error(with_margins: bool) -> None:
    """Over 400 orders the mean of estimates is the score on all images, and their spread is the error that they say."""
    margins, reference, scores = made_scores()
    estimates = []
    for seed in range(400):
        order = SampleOrder.of(reference, margins if with_margins else None, seed)
        estimates.append(order.estimate(scores[order.order[:256]]))
    values = np.array([each.value for each in estimates])
    said = np.sqrt(np.mean([each.sampling_error**2 for each in estimates]))
    assert abs(values.mean() - scores.mean()) < 4 * values.std() / 20
    assert 0.8 < said / values.std() < 1.6
    assert {each.population for each in estimates} == {COUNT}


def test_images_near_a_border_between_classes_come_first_and_make_the_error_smaller() -> None:
    margins, reference, scores = made_scores()
    orders = [(SampleOrder.of(reference, margins, seed), SampleOrder.of(reference, None, seed)) for seed in range(200)]
    spread = [np.std([of.estimate(scores[of.order[:256]]).value for of in each]) for each in zip(*orders, strict=True)]
    assert spread[0] < 0.8 * spread[1]
    plain = np.std([np.random.default_rng(seed).choice(scores, 256, replace=False).mean() for seed in range(200)])
    assert spread[0] < 0.6 * plain
    first = orders[0][0].order[:256]
    assert margins[first].mean() < 0.8 * margins.mean()


def test_on_all_images_the_estimate_is_their_mean_exactly() -> None:
    margins, reference, scores = made_scores()
    order = SampleOrder.of(reference, margins, 3)
    assert sorted(order.order) == list(range(COUNT))
    assert order.estimate(scores[order.order]) == MeanScore.of(scores)


def test_waves_are_growing_beginnings_up_to_all_images() -> None:
    for count in (1, 5, FIRST_WAVE, 2 * FIRST_WAVE, 5000):
        waves = SampleOrder.of(np.ones(count), None, 0).waves()
        assert waves[-1] == count
        assert all(later >= 1.49 * wave for wave, later in itertools.pairwise(waves))
    assert SampleOrder.of(np.ones(1023), None, 0).waves() == (1023,)
    assert SampleOrder.of(np.ones(5000), None, 0).waves() == (128, 192, 288, 432, 648, 972, 1458, 2187, 3280, 5000)


def test_the_network_itself_is_not_said_to_be_known_exactly_from_a_part_of_its_images() -> None:
    margins, reference, _ = made_scores()
    order = SampleOrder.of(reference, margins, 0)
    found = order.estimate(reference[order.order[:128]])
    assert found.value == pytest.approx(reference.mean())
    assert 0.0 < found.sampling_error < 0.02
    assert found.standard_error > MeanScore.of(reference).standard_error


def test_weights_of_a_sample_count_all_images() -> None:
    margins, reference, scores = made_scores()
    order = SampleOrder.of(reference, margins, 0)
    weights = order.weights(300)
    assert weights.sum() == pytest.approx(COUNT)
    differences = (scores - reference)[order.order[:300]]
    expected = reference.mean() + (weights * differences).sum() / COUNT
    assert order.estimate(scores[order.order[:300]]).value == pytest.approx(expected)


def test_scores_between_right_and_wrong_have_the_deviation_of_all_images() -> None:
    random = np.random.default_rng(0)
    reference = random.random(COUNT)
    scores = np.clip(reference + random.normal(0.0, 0.1, COUNT), 0.0, 1.0)
    order = SampleOrder.of(reference, None, 0)
    found = order.estimate(scores[order.order[:500]])
    assert found.deviation == pytest.approx(scores.std(), rel=0.1)
    assert abs(found.value - scores.mean()) < 4 * found.sampling_error


@pytest.mark.parametrize("reference", [np.ones(1), np.ones(3), np.zeros(300)])
def test_few_images_and_networks_that_are_always_right_or_wrong(reference: np.ndarray) -> None:
    order = SampleOrder.of(reference, np.zeros(len(reference)), 0)
    assert order.estimate(reference[order.order]) == MeanScore.of(reference)


def test_as_many_images_are_expected_as_are_taken() -> None:
    assert (expect_images(1023, 0.007), expect_images(5000, 0.0)) == (1023, 5000)
    assert 800 < expect_images(5000, 0.007) < 1400  # 1,103 were taken of ResNet-20's
    assert expect_images(5000, 0.1) == FIRST_WAVE
    assert expect_images(50_000, 0.007) < 1.3 * expect_images(5000, 0.007)


def test_margins_are_those_between_the_two_largest_logits() -> None:
    assert find_margins(torch.tensor([[1.0, 4.0, 2.5], [0.0, 0.0, -1.0]])).tolist() == [1.5, 0.0]


def test_an_order_is_the_same_again_from_its_json() -> None:
    margins, reference, scores = made_scores()
    order = SampleOrder.of(reference, margins, 0)
    again = SampleOrder.from_json(json.loads(json.dumps(order.to_json())))
    drawn = scores[order.order[:300]]
    assert np.array_equal(again.order, order.order)
    assert again.estimate(drawn) == order.estimate(drawn)
    assert len(json.dumps(order.to_json())) < 4 * COUNT


def test_scores_in_the_order_of_a_sample_are_restore_order_into_that_of_the_images() -> None:
    margins, reference, scores = made_scores()
    sample = SampleOrder.of(reference, margins, 1)
    packed = pack_scores(scores[sample.order])
    found = restore_order(packed, json.loads(json.dumps(sample.to_json())))
    assert found is not None
    assert found.tolist() == scores.tolist()
    assert restore_order(pack_scores(scores[sample.order][:-1]), sample.to_json()) is None
    assert restore_order("", sample.to_json()) is None

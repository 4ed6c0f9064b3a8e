"""Scores of images: right or wrong, and what is wrong with a score function of the user's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from explorer.errors import ModelError, NumericalError, ScoreError
from explorer.evaluate.score import Score, measure_likeness, refuse_infinite, refuse_other_than_logits, score_images
from tests.support.scoring import count_correct


class Echo(nn.Module):
    """Logits are the first row of the image, doubled in training mode's absence alone."""

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        assert not torch.is_grad_enabled()
        return x[:, 0, 0]


def images_with(logits: list[list[float]]) -> Tensor:
    return torch.tensor(logits)[:, None, None, :]


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_the_largest_logit_counts_whatever_the_batches(batch_size: int) -> None:
    images = images_with([[3.0, 1, 2], [0, 5, 1], [0, 1, 9], [2, 1, 0], [-3, -1, -2]])
    labels = torch.tensor([0, 1, 0, 0, 1])
    assert count_correct(Echo().train(), images, labels, batch_size) == 4


def test_nan_logits_are_wrong_even_where_argmax_would_hit() -> None:
    nan = float("nan")
    images = images_with([[nan, 1, 2], [0, nan, 1], [nan, nan, nan], [9, 0, 0]])
    assert count_correct(Echo(), images, torch.tensor([0, 1, 0, 0]), 2) == 1


def test_likeness_is_one_of_equal_classes_and_none_of_others_or_of_nan() -> None:
    outputs = torch.tensor([[0.0, 1000], [7, 7], [1, 2], [float("nan"), 0], [0, 0]])
    reference = torch.tensor([[1000.0, 0], [7, 7], [11, 12], [0, 0], [0, float("inf")]])
    assert measure_likeness(outputs, reference).tolist() == pytest.approx([0, 1, 1, 0, 0], abs=1e-7)
    shares = (0.2, 0.8), (0.5, 0.5)
    logits = [torch.tensor([each], dtype=torch.float64).log() for each in shares]
    distance = (((0.2**0.5 - 0.5**0.5) ** 2 + (0.8**0.5 - 0.5**0.5) ** 2) / 2) ** 0.5
    assert measure_likeness(*logits).item() == pytest.approx(1 - distance, abs=1e-12)


@pytest.mark.parametrize(
    ("outputs", "told"),
    [
        (torch.rand(4, 3).softmax(1), "leave out the softmax at the end"),
        (torch.rand(4), r"received outputs of shape \(4,\)"),
        ((torch.rand(4, 3), 1), "received tuple"),
    ],
)
def test_likeness_takes_logits_alone(outputs: object, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        refuse_other_than_logits(outputs)
    refuse_other_than_logits(torch.tensor([[0.5, 0.5], [1.0, 1.0]]))


def test_no_images_are_none_right() -> None:
    assert count_correct(Echo(), torch.zeros(0, 1, 1, 3), torch.zeros(0, dtype=torch.long), 8) == 0


def one_minus_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return 1 - (outputs[:, 0] - targets).abs().clamp(max=1)


def test_a_function_scores_each_image_whatever_the_batches() -> None:
    images, targets = images_with([[0.5], [0.25], [3.0]]), torch.tensor([0.25, 0.25, 0.0])
    for batch_size in (1, 2, 8):
        found = score_images(Echo(), images, targets, batch_size, Score(name="e", function=one_minus_error))
        assert found.tolist() == [0.75, 1.0, 0.0]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (lambda o, t: o, r"received one of shape \(3, 2\)"),
        (lambda o, t: o.mean(), r"received one of shape \(\)"),
        (lambda o, t: o[:, 0] * float("nan"), r"received nan for 3 of 3 images"),
        (lambda o, t: torch.tensor([0.5, 1.5, -2.0]), r"received 1\.5 for 2 of 3 images"),
        (lambda o, t: [1.0] * 3, "received a list"),
        (lambda o, t: None, "received a NoneType"),
        (lambda o, t: o[:, 0] * 1j, "received torch.complex64"),
        (lambda o, t: o[:, 7], r"'mine' failed on outputs of shape \(3, 2\) and targets of shape \(3,\).*IndexError"),
    ],
)
def test_a_wrong_score_function_is_one_line(given: Any, told: str) -> None:
    images = images_with([[0.5, 0.0], [0.25, 0.0], [3.0, 0.0]])
    with pytest.raises(ScoreError, match=told) as caught:
        score_images(Echo(), images, torch.zeros(3), 8, Score(name="mine", function=given))
    assert "'mine'" in str(caught.value)
    assert len(caught.value.problems) == 1
    assert "\n" not in str(caught.value)


def test_infinite_outputs_of_any_shape_are_refused() -> None:
    outputs = torch.zeros(3, 1, 2, 2)
    refuse_infinite(outputs)
    outputs[1, 0, 1, 1] = float("inf")
    with pytest.raises(NumericalError, match="its outputs are not finite for 1 of 3 images"):
        refuse_infinite(outputs)

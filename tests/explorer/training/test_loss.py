"""Losses: cross entropy, or the user's own, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from explorer.errors import ModelError
from explorer.settings import TrainingSettings
from explorer.training.epochs import Recipe
from explorer.training.loss import CROSS_ENTROPY, Loss, compute_loss, find_loss
from explorer.training.train import train_model


def test_cross_entropy_is_for_class_numbers_alone(tmp_path: Path) -> None:
    assert find_loss(None, tmp_path, "model.training.loss", 3, "give a checkpoint") is CROSS_ENTROPY
    with pytest.raises(ModelError, match=r"model\.training\.loss: missing; .*: name a loss, .* or give a checkpoint"):
        find_loss(None, tmp_path, "model.training.loss", None, "give a checkpoint")


def test_the_digest_of_a_loss_is_that_of_its_text(tmp_path: Path) -> None:
    codes = []
    for place, power in enumerate((2, 2, 4)):
        folder = tmp_path / str(place)
        folder.mkdir()
        (folder / "mine.py").write_text(
            f"def loss(outputs, targets):\n    return (outputs - targets).pow({power}).mean()\n"
        )
        found = find_loss("mine:loss", folder, "finetuning.loss", None, "")
        codes.append(found.code)
        assert compute_loss(found, torch.full((3,), 2.0, requires_grad=True), torch.zeros(3)).item() == 2.0**power
    assert codes[0] == codes[1] != codes[2]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (lambda o, t: (o - t).square(), r"received one of shape \(3,\)"),
        (lambda o, t: torch.tensor(1.0), "received one without gradients"),
        (lambda o, t: 1.0, "received a float"),
        (
            lambda o, t: o @ t[:2],
            r"mine failed on outputs of shape \(3,\) and .* at .*RuntimeError",
        ),
    ],
)
def test_a_wrong_loss_is_one_line(given: Any, told: str) -> None:
    with pytest.raises(ModelError, match=told) as caught:
        compute_loss(Loss(name="mine", function=given), torch.ones(3, requires_grad=True), torch.zeros(3))
    assert len(caught.value.problems) == 1


class Summed(nn.Module):
    """A linear layer of one input plus the other input."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.fc(x) + y  # type: ignore[no-any-return]


def test_two_inputs_are_trained_by_the_loss_that_is_given() -> None:
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(64, 3)).astype(np.float32), draw.normal(size=(64, 1)).astype(np.float32)
    targets = (x @ np.array([[1.0], [-2.0], [0.5]], np.float32) + y + 3.0).astype(np.float32)
    model = Summed()
    settings = TrainingSettings(epochs=60, learning_rate=0.1, batch_size=16, weight_decay=0.0)
    squares = Loss(name="squares", function=nn.functional.mse_loss)
    train_model(model, (x, y), targets, Recipe(settings=settings, seed=1, loss=squares))
    assert np.allclose(model.fc.weight.detach().numpy(), [[1.0, -2.0, 0.5]], atol=0.02)
    assert model.fc.bias.item() == pytest.approx(3.0, abs=0.02)


@pytest.mark.parametrize("key", ["shift_pixels", "rotate_degrees", "zoom", "flip"])
def test_what_moves_images_and_not_their_masks_is_refused(key: str) -> None:
    images, masks = np.zeros((4, 1, 4, 4), np.float32), np.zeros((4, 4, 4), np.float32)
    settings = TrainingSettings(**{key: True if key == "flip" else 0.25})  # type: ignore[arg-type]
    loss = Loss(name="squares", function=nn.functional.mse_loss)
    with pytest.raises(ModelError, match=rf"model\.training\.{key}: expected no augmentation"):
        train_model(nn.Conv2d(1, 1, 1), images, masks, Recipe(settings=settings, seed=0, loss=loss))

"""Crops: whole pixels, black from outside, the same for all channels; all images of a sample move alike."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from explorer.errors import ModelError
from explorer.settings import FineTuningSettings, TrainingSettings
from explorer.training.augment import augment, crop, find_darkest, refuse_unmovable


def test_a_crop_moves_whole_pixels_and_pads_with_black() -> None:
    images = torch.full((200, 2, 6, 8), -1.0)
    images[:, 1] = -2.0
    images[:, 0, 2, 3], images[:, 1, 2, 3] = 5.0, 11.0
    darkest = torch.tensor([-1.0, -2.0]).view(1, 2, 1, 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        (moved,) = crop((images,), 2, (darkest,))
    assert moved.shape == images.shape
    assert moved.is_contiguous(memory_format=torch.channels_last)
    places = (moved[:, 0] == 5.0).nonzero()
    assert len(places) == len(images)  # nothing was cut off: the pixel is at least 2 from every side
    assert torch.equal(places, (moved[:, 1] == 11.0).nonzero())
    assert {tuple(place) for place in (places[:, 1:] - torch.tensor([2, 3])).tolist()} == {
        (row, column) for row in range(-2, 3) for column in range(-2, 3)
    }
    assert float(moved[:, 0].sum()) == float(images[:, 0].sum())
    assert float(moved[:, 1].sum()) == float(images[:, 1].sum())


MOVES: list[dict[str, Any]] = [
    {"flip": True},
    {"shift_pixels": 2.0},
    {"rotate_degrees": 20.0, "zoom": 0.3},
    {"flip": True, "shift_pixels": 1.5, "rotate_degrees": 10.0, "zoom": 0.1},
]


@pytest.mark.parametrize("moves", MOVES)
def test_images_of_a_sample_move_as_if_they_were_one(moves: dict[str, Any]) -> None:
    images, vectors = torch.randn(20, 4, 10, 12), torch.randn(20, 5)
    settings = TrainingSettings(**moves)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        (whole,) = augment((images,), settings)
        torch.manual_seed(4)
        first, same, second = augment((images[:, :1], vectors, images[:, 1:]), settings)
    assert torch.equal(torch.cat((first, second), 1), whole)
    assert not torch.equal(whole, images)
    assert torch.equal(same, vectors)


def test_images_of_several_sizes_move_by_the_same_share() -> None:
    """A spot in the middle of either goes to the same place of the scene, three times as many pixels in one of them."""
    sides = torch.arange(-5, 6.0), torch.arange(-16, 17.0) / 3
    small, large = ((-(s[:, None] ** 2) - s**2).exp().expand(40, 1, -1, -1) for s in sides)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        moved = augment((small, large), TrainingSettings(shift_pixels=2.0, rotate_degrees=90.0))
    places = [(each.sum(2) * torch.arange(each.shape[3])).sum((1, 2)) / each.sum((1, 2, 3)) for each in moved]
    assert torch.allclose((places[1] - 16) / 3, places[0] - 5, atol=0.05)
    assert (places[0] - 5).abs().max() > 1.5


def test_a_crop_moves_all_images_by_the_same_pixels() -> None:
    images, vectors = torch.randn(30, 4, 6, 6), torch.randn(30, 5)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        (whole,) = crop((images,), 2, find_darkest((images,)))
        torch.manual_seed(4)
        parts = images[:, :3], vectors, images[:, 3:]
        first, same, second = crop(parts, 2, find_darkest(parts))
    assert torch.equal(torch.cat((first, second), 1), whole)
    assert torch.equal(same, vectors)


@pytest.mark.parametrize(
    ("shapes", "target", "told"),
    [
        (
            [(3,), (4,)],
            (),
            r"section\.flip: expected no augmentation where no input is an image, or where targets have",
        ),
        ([(3, 4, 4), (4,)], (4, 4), r"section\.flip: expected no augmentation"),
        ([(3, 4, 4), (1, 8, 8)], (), r"section\.crop_pixels: expected inputs of one height and width, which move by"),
    ],
)
def test_what_cannot_move_along_is_refused(shapes: list[tuple[int, ...]], target: tuple[int, ...], told: str) -> None:
    inputs = tuple(torch.zeros(2, *shape) for shape in shapes)
    settings = FineTuningSettings(flip=True, crop_pixels=1)
    with pytest.raises(ModelError, match=told):
        refuse_unmovable(settings, "section", inputs, torch.zeros(2, *target), settings.crop_pixels)
    still = FineTuningSettings()
    refuse_unmovable(still, "section", inputs, torch.zeros(2, *target), still.crop_pixels)

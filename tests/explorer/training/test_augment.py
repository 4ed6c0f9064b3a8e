"""Crops: whole pixels, black from outside, the same for all channels."""

import torch

from explorer.training.augment import crop


def test_a_crop_moves_whole_pixels_and_pads_with_black() -> None:
    images = torch.full((200, 2, 6, 8), -1.0)
    images[:, 1] = -2.0
    images[:, 0, 2, 3], images[:, 1, 2, 3] = 5.0, 11.0
    darkest = torch.tensor([-1.0, -2.0]).view(1, 2, 1, 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        moved = crop(images, 2, darkest)
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

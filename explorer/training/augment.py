"""Augmentation: random changes of a training image that leave its class as it is."""

from __future__ import annotations

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.errors import ModelError


class Augmentation(Protocol):
    """How far images are moved (pixels), turned (degrees), zoomed (share), and whether they are mirrored."""

    @property
    def shift_pixels(self) -> float:
        """By how many pixels images are moved at most."""
        ...

    @property
    def rotate_degrees(self) -> float:
        """By how many degrees they are turned at most."""
        ...

    @property
    def zoom(self) -> float:
        """By which share they are zoomed at most."""
        ...

    @property
    def flip(self) -> bool:
        """Whether half of them are mirrored."""
        ...


def refuse_moved_targets(
    settings: Augmentation, section: str, inputs: tuple[Tensor, ...], targets: Tensor, crop_pixels: int = 0
) -> None:
    """Raise ModelError where images would move and what belongs to them would not: masks, and further inputs."""
    moves = {key: getattr(settings, key) for key in ("shift_pixels", "rotate_degrees", "zoom", "flip")}
    asked = [key for key, value in {**moves, "crop_pixels": crop_pixels}.items() if value]
    plain = len(inputs) == 1 and inputs[0].ndim == 4 and targets[0].numel() == 1
    if asked and not plain:
        raise ModelError(
            f"{section}.{asked[0]}: expected no augmentation of several inputs, of what is no image, or where targets "
            f"have positions, since these would not move along; remove it"
        )


def augment(images: Tensor, settings: Augmentation) -> Tensor:
    """Return each image moved, turned and zoomed by up to the settings, and mirrored half of the time if they say so.

    Pixels are interpolated linearly; the darkest value of each channel comes in from outside.
    """
    if settings.flip:
        mirrored = torch.rand(len(images), device=images.device) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    if settings.shift_pixels == settings.rotate_degrees == settings.zoom == 0:
        return images
    darkest = images.amin(dim=(0, 2, 3), keepdim=True)
    grid = F.affine_grid(_transforms(images, settings), list(images.shape), align_corners=False)
    return F.grid_sample(images - darkest, grid, align_corners=False) + darkest


def crop(images: Tensor, padding: int, darkest: Tensor) -> Tensor:
    """Return each image (N x C x H x W) moved by whole pixels, up to `padding` along either side.

    `darkest` (1 x C x 1 x 1) comes in from outside, as where pixels are padded with black before they are normalised.
    The result lies in memory with its channels last.
    """
    count, _, height, width = images.shape
    padded = F.pad(images - darkest, (padding,) * 4) + darkest
    start = torch.randint(0, 2 * padding + 1, (2, count, 1), device=images.device)
    rows = start[0] + torch.arange(height, device=images.device)
    columns = start[1] + torch.arange(width, device=images.device)
    which = torch.arange(count, device=images.device)
    return padded.permute(0, 2, 3, 1)[which[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _transforms(images: Tensor, settings: Augmentation) -> Tensor:
    """Return random affine maps, `n x 2 x 3`, in coordinates that run from -1 to 1 along either side."""
    count, _, height, width = images.shape
    up_to = torch.rand(4, count, device=images.device) * 2 - 1
    angle = up_to[0] * math.radians(settings.rotate_degrees)
    scale = 1 + up_to[1] * settings.zoom
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    right, down = up_to[2] * 2 * settings.shift_pixels / width, up_to[3] * 2 * settings.shift_pixels / height
    rows = (cosine, -sine * height / width, right, sine * width / height, cosine, down)
    return torch.stack(rows, dim=1).reshape(count, 2, 3)

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


def refuse_unmovable(
    settings: Augmentation, section: str, inputs: tuple[Tensor, ...], targets: Tensor, crop_pixels: int = 0
) -> None:
    """Raise ModelError where nothing can move, or images would move and what belongs to them would not."""
    moves = {key: getattr(settings, key) for key in ("shift_pixels", "rotate_degrees", "zoom", "flip")}
    asked = [key for key, value in {**moves, "crop_pixels": crop_pixels}.items() if value]
    images = [tensor for tensor in inputs if is_image(tensor)]
    if asked and (not images or targets[0].numel() > 1):
        raise ModelError(
            f"{section}.{asked[0]}: expected no augmentation where no input is an image, or where targets have "
            "positions, since these would not move along; remove it"
        )
    if crop_pixels and len({tensor.shape[2:] for tensor in images}) > 1:
        raise ModelError(
            f"{section}.crop_pixels: expected inputs of one height and width, which move by the same whole pixels; "
            "choose shift_pixels instead"
        )


def is_image(tensor: Tensor) -> bool:
    """Return whether an input is N x C x H x W."""
    return tensor.ndim == 4


def augment(inputs: tuple[Tensor, ...], settings: Augmentation) -> tuple[Tensor, ...]:
    """Return each image moved, turned and zoomed by up to the settings, and mirrored half of the time if they say so.

    Inputs that are images of one sample move alike, since they may show one scene: by the same angle, zoom and share of
    their sides (`shift_pixels` are those of the first). Other inputs stay as they are. Pixels are interpolated
    linearly; the darkest value of each channel comes in from outside.
    """
    first = next((tensor for tensor in inputs if is_image(tensor)), None)
    if first is None:
        return inputs
    if settings.flip:
        mirrored = (torch.rand(len(first), device=first.device) < 0.5)[:, None, None, None]
        inputs = tuple(torch.where(mirrored, each.flip(3), each) if is_image(each) else each for each in inputs)
    if settings.shift_pixels == settings.rotate_degrees == settings.zoom == 0:
        return inputs
    up_to = torch.rand(4, len(first), device=first.device) * 2 - 1
    height, width = first.shape[2:]
    shares = up_to[2] * 2 * settings.shift_pixels / width, up_to[3] * 2 * settings.shift_pixels / height
    angle, scale = up_to[0] * math.radians(settings.rotate_degrees), 1 + up_to[1] * settings.zoom
    return tuple(_moved(each, angle, scale, shares) if is_image(each) else each for each in inputs)


def crop(inputs: tuple[Tensor, ...], padding: int, darkest: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return each image (N x C x H x W) moved by whole pixels, up to `padding` along either side.

    All inputs that are images move alike, and have one height and width. `darkest` has for each input what comes in
    from outside (1 x C x 1 x 1, as `find_darkest` gives it), as where pixels are padded with black before they are
    normalised. The images lie in memory with their channels last.
    """
    count, torch_device = len(inputs[0]), inputs[0].device
    start = torch.randint(0, 2 * padding + 1, (2, count, 1), device=torch_device)
    pairs = zip(inputs, darkest, strict=True)
    return tuple(_cropped(each, padding, fill, start) if is_image(each) else each for each, fill in pairs)


def find_darkest(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the darkest value of each channel (1 x C x 1 x 1) of every image among the inputs, others as they are."""
    return tuple(each.amin(dim=(0, 2, 3), keepdim=True) if is_image(each) else each for each in inputs)


def _cropped(images: Tensor, padding: int, darkest: Tensor, start: Tensor) -> Tensor:
    height, width = images.shape[2:]
    padded = F.pad(images - darkest, (padding,) * 4) + darkest
    rows = start[0] + torch.arange(height, device=images.device)
    columns = start[1] + torch.arange(width, device=images.device)
    which = torch.arange(len(images), device=images.device)
    return padded.permute(0, 2, 3, 1)[which[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _moved(images: Tensor, angle: Tensor, scale: Tensor, shares: tuple[Tensor, Tensor]) -> Tensor:
    """Return images under an affine map each (`n x 2 x 3`), in coordinates that run from -1 to 1 along either side."""
    count, _, height, width = images.shape
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    rows = (cosine, -sine * height / width, shares[0], sine * width / height, cosine, shares[1])
    grid = F.affine_grid(torch.stack(rows, dim=1).reshape(count, 2, 3), list(images.shape), align_corners=False)
    darkest = images.amin(dim=(0, 2, 3), keepdim=True)
    return F.grid_sample(images - darkest, grid, align_corners=False) + darkest

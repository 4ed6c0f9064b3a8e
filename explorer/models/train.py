"""Training a network that has no checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from explorer.errors import ModelError
from explorer.settings import TrainingSettings

Progress = Callable[[int, int, float], None]
"""Called after each epoch with its number (from 1), the number of epochs, and the mean loss."""

MOMENTUM = 0.9
SMALL_BATCH = 2**16
"""Pixels in a batch below which more threads cost more than they save; on a busy machine, a hundredfold."""


def train_model(
    model: nn.Module,
    images: NDArray[np.float32],
    labels: NDArray[np.int64],
    settings: TrainingSettings,
    *,
    seed: int,
    progress: Progress | None = None,
) -> None:
    """Train the model in place with cross-entropy; it ends in evaluation mode.

    `images` is `n x channels x height x width`, `labels` n class numbers. Adam or SGD with momentum 0.9, the
    learning rate along half a cosine to 0 (Loshchilov and Hutter 2017, without restarts). Deterministic for a
    seed on one machine; the global random state stays as it was. ModelError when the loss is not finite.
    """
    device = next(model.parameters()).device
    x, y = torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device)
    optimizer = _optimizer(model, settings)
    batches = math.ceil(len(y) / settings.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs * batches)
    generators = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
    with generators, _threads(1 if x[: settings.batch_size].numel() < SMALL_BATCH else torch.get_num_threads()):
        torch.manual_seed(seed)
        model.train()
        for epoch in range(1, settings.epochs + 1):
            total = 0.0
            for chosen in torch.randperm(len(y)).to(device).chunk(batches):
                loss = F.cross_entropy(model(_augmented(x[chosen], settings)), y[chosen])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                total += loss.item() * len(chosen)
            if not math.isfinite(total):
                rate = f"model.training.learning_rate ({settings.learning_rate:g})"
                raise ModelError(f"model.training: the loss is {total} in epoch {epoch}; lower {rate}")
            if progress is not None:
                progress(epoch, settings.epochs, total / len(y))
    model.eval()


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), rate, MOMENTUM, weight_decay=decay, nesterov=True)
    return torch.optim.Adam(model.parameters(), rate, weight_decay=decay)


def _augmented(images: Tensor, settings: TrainingSettings) -> Tensor:
    """Each image moved, turned and zoomed by up to the settings, and mirrored half of the time if they say so.

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


def _transforms(images: Tensor, settings: TrainingSettings) -> Tensor:
    """Random affine maps, `n x 2 x 3`, in coordinates that run from -1 to 1 along either side."""
    count, _, height, width = images.shape
    up_to = torch.rand(4, count, device=images.device) * 2 - 1
    angle = up_to[0] * math.radians(settings.rotate_degrees)
    scale = 1 + up_to[1] * settings.zoom
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    right, down = up_to[2] * 2 * settings.shift_pixels / width, up_to[3] * 2 * settings.shift_pixels / height
    rows = (cosine, -sine * height / width, right, sine * width / height, cosine, down)
    return torch.stack(rows, dim=1).reshape(count, 2, 3)

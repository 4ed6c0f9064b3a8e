"""Training a network that has no checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from explorer.errors import ModelError
from explorer.files import replaced
from explorer.settings import TrainingSettings
from explorer.threads import single_threaded

Progress = Callable[[int, int, float], None]
"""Called after each epoch with its number (from 1), the number of epochs, and the mean loss."""

Parts = dict[str, nn.Module | torch.optim.Optimizer | torch.optim.lr_scheduler.LRScheduler]

MOMENTUM = 0.9
"""Of SGD: what ResNets were trained with on CIFAR-10 (He et al., 2016)."""
SMALL_BATCH = 2**16
"""Pixels in a batch below which more threads cost more than they save (assumed)."""


def train_model(
    model: nn.Module,
    images: NDArray[np.float32],
    labels: NDArray[np.int64],
    settings: TrainingSettings,
    *,
    seed: int,
    progress: Progress | None = None,
    unfinished: Path | None = None,
) -> None:
    """Train the model in place with cross-entropy; it ends in evaluation mode.

    After each epoch the state is written to the file `unfinished`, where one is given. Found there at the
    start, it is gone on from, to the same weights as without the interruption; at the end it is removed.

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
    with generators, single_threaded(x[: settings.batch_size].numel() < SMALL_BATCH):
        torch.manual_seed(seed)
        parts: Parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
        done = _resume(unfinished, parts) if unfinished is not None else 0
        model.train()
        for epoch in range(done + 1, settings.epochs + 1):
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
            if unfinished is not None:
                _keep(unfinished, parts, epoch)
            if progress is not None:
                progress(epoch, settings.epochs, total / len(y))
    if unfinished is not None:
        unfinished.unlink(missing_ok=True)
    model.eval()


def _keep(path: Path, parts: Parts, epoch: int) -> None:
    """Write the state after an epoch, whole or not at all."""
    state = {name: part.state_dict() for name, part in parts.items()}
    with replaced(path) as file:
        torch.save({**state, "epoch": epoch, "random": _random_states()}, file)


def _resume(path: Path, parts: Parts) -> int:
    """Take up the state of an interrupted training; the number of its epochs, 0 where there is none."""
    if not path.exists():
        return 0
    try:
        state = torch.load(path, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        torch.set_rng_state(state["random"][0])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["random"][1:])
        return int(state["epoch"])
    except (OSError, RuntimeError, UnpicklingError, KeyError, ValueError, EOFError) as error:
        raise ModelError(
            f"{path}: not the state of an interrupted training ({type(error).__name__}); delete it to train anew"
        ) from error


def _random_states() -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])]


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

"""The epochs of a training: batches in random order, a falling learning rate, progress, and what is kept after each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from explorer.errors import DivergedError
from explorer.settings import FineTuningSettings, TrainingSettings
from explorer.training.checkpoint import Parts, keep, resume
from explorer.training.loss import CROSS_ENTROPY, Loss

EpochProgress = Callable[[int, int, float], None]
"""Called with how many batches are done, of how many in all epochs, and the mean loss of this epoch so far."""


_Settings_co = TypeVar("_Settings_co", bound=TrainingSettings | FineTuningSettings, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(Generic[_Settings_co]):
    """How a network is trained.

    The state is written to the file `unfinished` after each epoch, where one is given. Found there at the start, it is
    gone on from, to the same weights as without the interruption. At the end it stays until what came of the training
    is kept elsewhere, and is removed where the training diverges.
    """

    settings: _Settings_co
    seed: int
    loss: Loss = CROSS_ENTROPY
    unfinished: Path | None = None

    def forget(self) -> None:
        """Remove the state: what came of the training is kept elsewhere."""
        if self.unfinished is not None:
            self.unfinished.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A recipe, and what it is followed on."""

    section: str
    """Of the study file, which an error names."""
    recipe: Recipe[TrainingSettings | FineTuningSettings]
    num_images: int
    torch_device: torch.device
    identity: str = ""
    """Of what is trained; a state of another is refused."""
    warm_up: float = 0.0
    """Share of the steps in which the learning rate rises, evenly, to what the cosine gives."""
    parts: Parts = field(default_factory=dict)
    """What has a state besides network, optimiser and schedule."""
    after_epoch: Callable[[int], None] = lambda _: None
    """Called after each epoch, before its state is kept."""


def run_epochs(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: Callable[[Tensor], Tensor],
    course: Course,
    progress: EpochProgress | None = None,
) -> None:
    """Take a step for every batch of every epoch that is left.

    The learning rate falls along half a cosine to 0 (Loshchilov and Hutter, 2017), from its first step or above
    `warm_up`.

    `step` is given the indices of a batch's images, and returns the loss that it went down by. The random state is that
    of the caller, and the file of the state is left where it is.

    Raises:
        DivergedError: When the loss is not finite.
        ModelError: When the state is that of another training.
    """
    settings, unfinished = course.recipe.settings, course.recipe.unfinished
    batches = math.ceil(course.num_images / settings.batch_size)
    schedule = _schedule(optimizer, settings.epochs * batches, course.warm_up)
    parts: Parts = {"model": model, "optimizer": optimizer, "schedule": schedule, **course.parts}
    done = resume(unfinished, parts, course.identity) if unfinished is not None else 0
    tell = progress or (lambda *_: None)
    tell(done * batches, settings.epochs * batches, math.nan)
    for epoch in range(done + 1, settings.epochs + 1):
        total, seen = 0.0, 0
        chunks = torch.randperm(course.num_images).to(course.torch_device).chunk(batches)
        for batch, chosen in enumerate(chunks, start=1):
            loss = step(chosen)
            schedule.step()
            total, seen = total + loss.item() * len(chosen), seen + len(chosen)
            if batch < len(chunks):  # of the last one only when the epoch is kept
                tell((epoch - 1) * batches + batch, settings.epochs * batches, total / seen)
        if not math.isfinite(total):
            course.recipe.forget()
            rate = f"{course.section}.learning_rate ({settings.learning_rate:g})"
            raise DivergedError(f"{course.section}: the loss is {total} in epoch {epoch}; lower {rate}")
        course.after_epoch(epoch)
        if unfinished is not None:
            keep(unfinished, parts, epoch, course.identity)
        tell(epoch * batches, settings.epochs * batches, total / seen)


def _schedule(optimizer: torch.optim.Optimizer, steps: int, warm_up: float) -> torch.optim.lr_scheduler.LRScheduler:
    if not warm_up:
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def share(step: int) -> float:
        rising = min(1.0, (step + 1) / (warm_up * steps + 1))
        return rising * (1.0 + math.cos(math.pi * step / steps)) / 2.0

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)

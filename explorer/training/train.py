"""Training a network that has no checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from explorer.errors import ModelError
from explorer.graph.inputs import run, take
from explorer.graph.lines import find_last_line
from explorer.settings import TrainingSettings
from explorer.threads import single_threaded
from explorer.training.augment import augment, refuse_unmovable
from explorer.training.epochs import Course, EpochProgress, Recipe, run_epochs
from explorer.training.loss import CROSS_ENTROPY, Loss, compute_loss

MOMENTUM = 0.9
"""Of SGD: what ResNets were trained with on CIFAR-10 (He et al., 2016)."""
SMALL_BATCH = 2**16
"""Pixels in a batch below which more threads cost more than they save (assumed)."""


def train_model(
    model: nn.Module,
    images: NDArray[np.float32] | tuple[NDArray[np.float32], ...],
    targets: NDArray[Any],
    recipe: Recipe[TrainingSettings],
    progress: EpochProgress | None = None,
) -> None:
    """Train the model in place; it ends in evaluation mode.

    Adam or SGD with momentum 0.9, the learning rate along half a cosine to 0 (Loshchilov and Hutter 2017, without
    restarts). Deterministic for a seed on one kind of machine; the global random state stays as it was.

    Args:
        images: N x channels x height x width, or a tuple of several inputs.
        targets: What the loss takes, N x ....

    Raises:
        ModelError: When the loss is not finite, or the network fails in training mode.
    """
    settings, torch_device = recipe.settings, next(model.parameters()).device
    arrays = images if isinstance(images, tuple) else (images,)
    inputs = tuple(torch.from_numpy(array).to(torch_device) for array in arrays)
    y = torch.from_numpy(targets).to(torch_device)
    refuse_unmovable(settings, "model.training", inputs, y)
    optimizer = _optimizer(model, settings)
    course = Course(section="model.training", recipe=recipe, num_images=len(y), torch_device=torch_device)

    def step(chosen: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        value = _backward(model, augment(take(inputs, chosen), settings), y[chosen], recipe.loss)
        optimizer.step()
        return value

    generators = torch.random.fork_rng(devices=[torch_device] if torch_device.type == "cuda" else [])
    with generators, single_threaded(sum(x[: settings.batch_size].numel() for x in inputs) < SMALL_BATCH):
        torch.manual_seed(recipe.seed)
        model.train()
        run_epochs(model, optimizer, step, course, progress)
    model.eval()


def _backward(model: nn.Module, inputs: tuple[torch.Tensor, ...], targets: torch.Tensor, loss: Loss) -> torch.Tensor:
    """Return the loss with its gradients; ModelError where the network does in training what none follow from."""
    try:
        value = compute_loss(loss, run(model, inputs), targets)
        value.backward()  # type: ignore[no-untyped-call]
    except ModelError:
        raise
    except Exception as error:  # code of the user's
        asked = "logits of N x classes" if loss is CROSS_ENTROPY else "outputs"
        raise ModelError(
            f"model: the network cannot be trained: {type(error).__name__} at {find_last_line(error)}: {error}; "
            f"forward() has to give {asked} with gradients in training mode, too, or [model] needs a "
            "checkpoint"
        ) from error
    return value


def _optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), rate, MOMENTUM, weight_decay=decay, nesterov=True)
    return torch.optim.Adam(model.parameters(), rate, weight_decay=decay)

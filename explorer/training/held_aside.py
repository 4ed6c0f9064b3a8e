"""Images held aside out of the training images: by their loss the best state of a training is kept."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


def hold_aside(count: int, share: float, torch_device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the indices of images to train on and of those held aside, `share` of `count`, by the random state.

    At least one image stays to be trained on; all do where the share comes to none, in their order.
    """
    aside = min(round(share * count), count - 1)
    if not aside:
        return torch.arange(count, device=torch_device), torch.empty(0, dtype=torch.int64, device=torch_device)
    order = torch.randperm(count).to(torch_device)
    return order[aside:].sort().values, order[:aside].sort().values


@dataclass(slots=True)
class BestState:
    """The best state of a model so far: of those that take no more than they may, the one of least loss.

    `measure` returns the loss of the model as it is, and by how much (from 0) it takes more than it may.
    """

    model: nn.Module
    measure: Callable[[], tuple[float, float]]
    epoch: int = -1
    """That it is of, 0 for the start."""
    excess: float = math.inf
    loss: float = math.inf
    state: dict[str, Any] = field(default_factory=dict)

    def offer(self, epoch: int) -> None:
        """Keep the model's state after an epoch where none before was as good."""
        loss, excess = self.measure()
        loss = loss if math.isfinite(loss) else math.inf
        if not self.state or (excess, loss) < (self.excess, self.loss):
            self.epoch, self.excess, self.loss = epoch, excess, loss
            self.state = copy.deepcopy(self.model.state_dict())

    def describe(self) -> dict[str, float | None]:
        """Return the loss and the excess of the best state, as plain data; a loss that is not finite is None."""
        return {"aside_loss": self.loss if math.isfinite(self.loss) else None, "aside_excess": self.excess}

    def restore(self) -> None:
        """Give the model its best state back."""
        self.model.load_state_dict(self.state)

    def state_dict(self) -> dict[str, Any]:
        """Return what a training that goes on has to know."""
        return {"epoch": self.epoch, "excess": self.excess, "loss": self.loss, "state": self.state}

    def load_state_dict(self, known: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self.epoch, self.excess, self.loss = int(known["epoch"]), float(known["excess"]), float(known["loss"])
        self.state = known["state"]

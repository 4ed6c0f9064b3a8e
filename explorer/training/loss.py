"""What training makes small: cross entropy of class numbers, or a function of the user's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from explorer.errors import ModelError
from explorer.graph.lines import apply_to_outputs
from explorer.user_code import digest_code, load_function

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets), each with one entry for each image -> one number, with gradients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A loss function, the name it is called by in messages, and a digest of its code where it is the user's."""

    name: str
    function: LossFunction
    code: str = ""


CROSS_ENTROPY = Loss(name="cross entropy", function=F.cross_entropy)


def find_loss(name: str | None, folder: str | Path, key: str, num_classes: int | None, otherwise: str) -> Loss:
    """Return the user's loss "module:function", else cross entropy.

    Raises:
        ModelError: Where targets are no class numbers.
    """
    if name is not None:
        function = load_function(name, folder, f"{key}: {name!r}", ModelError)
        return Loss(name=f"{key}: {name!r}", function=function, code=digest_code(function))
    if num_classes is None:
        raise ModelError(
            f"{key}: missing; the targets are no class numbers, which cross entropy needs: name a loss, "
            f'"module:callable", or {otherwise}'
        )
    return CROSS_ENTROPY


def compute_loss(loss: Loss, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of a batch.

    Raises:
        ModelError: Where the user's function fails or does not return one number.
    """
    if loss is CROSS_ENTROPY:
        return loss.function(outputs, targets)
    found: object = apply_to_outputs(loss.function, outputs, targets, loss.name, ModelError)
    if not isinstance(found, Tensor) or found.ndim or not found.requires_grad:
        received = f"one of shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        if isinstance(found, Tensor) and not found.ndim:
            received = "one without gradients"
        raise ModelError(f"{loss.name}: expected one number with gradients, a tensor of shape (), received {received}")
    return found

"""How many images a network classifies right."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from explorer.errors import NumericalError


def count_correct(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, batch_size: int) -> int:
    """Number of images (N x C x H x W) whose largest logit is that of their label (N).

    A network that gives NaN logits for an image has that image wrong. Model and tensors share one device.
    """
    return int(right_images(model, images, labels, batch_size).sum())


def right_images(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, batch_size: int) -> NDArray[np.bool_]:
    """Which images those are (N)."""
    found = []
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            logits = model(images[start : start + batch_size])
            right = logits.argmax(1) == labels[start : start + batch_size]
            found.append((right & ~logits.isnan().any(1)).cpu().numpy())
    return np.concatenate(found) if found else np.zeros(0, dtype=np.bool_)


def refuse_infinite(model: nn.Module, images: object, logits: torch.Tensor) -> None:
    """A forward hook: NumericalError where any of the logits (N x classes) is NaN or infinite."""
    lost = int((~logits.isfinite()).any(1).sum())
    if lost:
        raise NumericalError(f"its logits are not finite for {lost} of {len(logits)} images")


def find_torch_device(name: str) -> torch.device:
    """The device of that name; "auto" is CUDA where there is one. ValueError for CUDA where there is none.

    On CUDA, convolutions and products keep all bits of float32 from then on: with TF32, whose 10 bits are the
    default of convolutions, sums of integers would no longer be exact.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ValueError('compute.device: received "cuda", but torch finds no CUDA device; use "cpu" or "auto"')
    if name == "cpu" or not available:
        return torch.device("cpu")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device("cuda")

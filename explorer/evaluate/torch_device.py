"""Choosing the device that torch computes on."""

from __future__ import annotations

import torch


def find_torch_device(name: str) -> torch.device:
    """Return the device of that name; "auto" is CUDA where there is one.

    On CUDA, convolutions and products keep all bits of float32 from then on: with TF32, whose 10 bits are the
    default of convolutions, sums of integers would no longer be exact.

    Raises:
        ValueError: For CUDA where there is none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ValueError('compute.device: received "cuda", but torch finds no CUDA device; use "cpu" or "auto"')
    if name == "cpu" or not available:
        return torch.device("cpu")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device("cuda")

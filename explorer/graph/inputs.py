"""A batch of what a network reads: one tensor, or a tuple with one for each argument of forward()."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Inputs = Tensor | tuple[Tensor, ...]
"""Each tensor has one entry for each image along its first axis (N x ...); a bare tensor is the only input."""


def as_tuple(inputs: Inputs) -> tuple[Tensor, ...]:
    """Return the inputs as a tuple, in the order of forward()'s arguments."""
    return inputs if isinstance(inputs, tuple) else (inputs,)


def count_images(inputs: Inputs) -> int:
    """Return N, the number of images of a batch."""
    return len(as_tuple(inputs)[0])


def take(inputs: Inputs, images: slice | Tensor | list[int]) -> tuple[Tensor, ...]:
    """Return some images of a batch: a slice of them, or those at these places."""
    return tuple(tensor[images] for tensor in as_tuple(inputs))


def batches(inputs: Inputs, size: int) -> Iterator[tuple[Tensor, ...]]:
    """Yield a batch in parts of at most `size` images."""
    return (take(inputs, slice(start, start + size)) for start in range(0, count_images(inputs), size))


def join(parts: Sequence[Inputs]) -> tuple[Tensor, ...]:
    """Return several batches as one, the images of each behind those of the one before."""
    return tuple(torch.cat(tensors) for tensors in zip(*map(as_tuple, parts), strict=True))


def to_device(inputs: Inputs, device: torch.device) -> tuple[Tensor, ...]:
    """Return the batch on a device."""
    return tuple(tensor.to(device) for tensor in as_tuple(inputs))


def run(model: nn.Module, inputs: Inputs) -> Any:
    """Return what a network gives for a batch."""
    return model(*as_tuple(inputs))


def get_shapes(inputs: Inputs) -> tuple[tuple[int, ...], ...]:
    """Return the shape of each input of one image, without the batch axis."""
    return tuple(tuple(tensor.shape[1:]) for tensor in as_tuple(inputs))
